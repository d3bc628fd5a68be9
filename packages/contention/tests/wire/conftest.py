"""Makes the helpers of this folder importable, and starts real servers for the tests that ask."""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wire_servers import PostgresServer, ValkeyServer, postgres_server, valkey_server


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
