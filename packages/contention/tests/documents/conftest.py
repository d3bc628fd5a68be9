"""Servers for the pages of these tests."""

from collections.abc import Iterator

import pytest

from contention.wire.embedded import embedded_servers
from contention.wire.servers import Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with embedded_servers() as servers:
        yield servers
