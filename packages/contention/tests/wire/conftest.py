"""Real servers for the tests of this folder that ask for them."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .wire_servers import PostgresServer, ValkeyServer, postgres_server, valkey_server


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="contention-wire-") as name:
        # The server's own user, when tests run as root, has to pass through.
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[PostgresServer]:
    with postgres_server(folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def valkey(folder: Path) -> Iterator[ValkeyServer]:
    with valkey_server(folder / "valkey") as server:
        yield server
