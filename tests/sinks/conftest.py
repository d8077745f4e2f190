"""How many steps of publishing the batteries crash at: every fourth by default, every one where that is asked for."""

import os

from assay.testing import SinkConformance

SinkConformance.stride = int(os.environ.get("ASSAY_CRASH_STRIDE", "4"))
