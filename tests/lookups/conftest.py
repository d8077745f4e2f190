"""The HTTP service that tests of lookups ask."""

from collections.abc import Iterator

import pytest
from tests.lookups.service import Service


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()
