"""One real server for all tests of this folder, and one database as specs find it."""

from collections.abc import Iterator

import pytest

from contention.isolation.databases import own_database
from contention.isolation.servers import temporary_server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    with temporary_server() as url:
        yield url


@pytest.fixture(scope="session")
def database(server_url: str) -> Iterator[str]:
    with own_database(server_url) as address:
        yield address
