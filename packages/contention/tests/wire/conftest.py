"""Real servers for the tests of this folder that ask for them."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from contention.wire.embedded import embedded_servers
from contention.wire.servers import Servers

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


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers with the settings of explorations."""
    with embedded_servers() as servers:
        yield servers
