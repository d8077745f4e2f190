"""Here the compiled verdict learns from any number of records: small feeds are to show what it does."""

from collections.abc import Iterator
from unittest import mock

import pytest

from assay.records import compiled


@pytest.fixture(autouse=True, scope="session")
def learn_from_few() -> Iterator[None]:
    with mock.patch.object(compiled, "_WORTH_RECORDS", 1):
        yield
