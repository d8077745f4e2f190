"""`python -m assay` is the command line."""

import subprocess
import sys


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "assay", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("assay ")


def test_what_few_need_is_not_imported_by_all() -> None:
    code = "import sys, assay.pipeline; sys.exit('sqlalchemy.orm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
