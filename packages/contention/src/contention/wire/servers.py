"""The servers that a run uses: where they listen, how to reach them, how to look inside."""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from contention.wire.gate import Address

_BROKER_DATABASE = 15


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL that the kit may reset.

    Attributes:
        folder: of its unix socket.
        port: which names the socket within the folder.
        user: a superuser: the kit clones databases and looks into locks.
        database: the one that workers use.
    """

    folder: Path
    port: int = 5432
    user: str = "postgres"
    database: str = "postgres"

    @property
    def address(self) -> Address:
        """The socket's path."""
        return Address(path=str(self.folder / f".s.PGSQL.{self.port}"))

    @property
    def url(self) -> str:
        """The address that drivers take, over the unix socket."""
        folder = quote(str(self.folder), safe="")
        return f"postgresql://{self.user}@/{self.database}?host={folder}&port={self.port}"

    def behind(self, folder: Path, port: int) -> "PostgresServer":
        """The same server as a worker sees it, through the gate in a folder of its own."""
        return replace(self, folder=folder, port=port)

    def using(self, database: str) -> "PostgresServer":
        """Another database of the same server."""
        return replace(self, database=database)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis or Valkey that the kit may empty."""

    socket: Path

    @property
    def address(self) -> Address:
        """The socket's path."""
        return Address(path=str(self.socket))

    @property
    def url(self) -> str:
        """The address that clients take, over the unix socket."""
        return f"unix://{self.socket}?db=0"

    @property
    def broker_url(self) -> str:
        """The address that Celery takes for its broker, in a database apart from the workers'."""
        return f"redis+socket://{self.socket}?virtual_host={_BROKER_DATABASE}"

    def behind(self, socket: Path) -> "RedisServer":
        """The same server as a worker sees it, through its gate's socket."""
        return replace(self, socket=socket)


@dataclass(frozen=True, slots=True)
class Servers:
    """What workers talk to."""

    postgres: PostgresServer
    redis: RedisServer

    @property
    def links(self) -> "Links":
        """Their own addresses, without a gate."""
        return Links(self.postgres.url, self.redis.url, self.redis.broker_url)


@dataclass(frozen=True, slots=True)
class Links:
    """A worker's own addresses: as if it ran on a machine of its own.

    Attributes:
        postgres_url: for any driver, as ``postgresql://user@/database?host=…&port=…``.
        redis_url: for any client, as ``unix:///…``.
        broker_url: for Celery's broker, on the same Redis: what passes here is recorded, and is no
            step of any schedule.
    """

    postgres_url: str
    redis_url: str
    broker_url: str = ""
