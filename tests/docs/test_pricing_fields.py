"""The table of fields in docs/pricing.md is that of the classes."""

import runpy

from tests.conftest import ROOT


def test_the_page_has_the_fields_of_all_kinds() -> None:
    table = runpy.run_path(str(ROOT / "tools/pricing_fields.py"))["table"]()
    page = (ROOT / "docs/pricing.md").read_text()
    assert page.endswith(table), "put the output of tools/pricing_fields.py at the end of docs/pricing.md"
