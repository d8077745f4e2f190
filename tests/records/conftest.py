"""Here the compiled verdict learns from any number of records: small feeds are to show what it does."""

from collections.abc import Iterator
from unittest import mock

import pytest
from tests.records.twins import COMPARED

from assay.records import compiled


@pytest.fixture(autouse=True, scope="session")
def learn_from_few() -> Iterator[None]:
    with mock.patch.object(compiled, "_WORTH_RECORDS", 1):
        yield


@pytest.fixture(autouse=True, scope="session")
def campaign_says_what_it_did(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "campaign" in str(request.config.getoption("markexpr")) and COMPARED["feeds"]:
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"\n{COMPARED['feeds']:,} feeds, {COMPARED['records']:,} records compared")
