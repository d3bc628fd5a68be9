"""The servers that a run uses: where they listen, how to reach them, how to look inside."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from contention.wire.gate import Address

_BROKER_DATABASE = 15

_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
_NO_TLS = "a gate has to read what passes, so its link is plain text"


class UnusableServerError(Exception):
    """A server that the kit cannot use, with what to do about it."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL that the kit may reset.

    Attributes:
        host: the folder of its unix socket, or a host's name.
        port: which also names the socket within the folder.
        user: a superuser: the kit clones databases and looks into locks.
        database: the one that workers use.
        password: empty where the server asks for none.
    """

    host: str
    port: int = 5432
    user: str = "postgres"
    database: str = "postgres"
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.host:
            raise UnusableServerError("a PostgreSQL server has a host, or the folder of its socket")

    @classmethod
    def from_url(cls, url: str) -> "PostgresServer":
        """The server behind an address as drivers take it, over TCP or a unix socket.

        Raises:
            UnusableServerError: it is no address of PostgreSQL, or demands TLS.
        """
        try:
            parts = conninfo_to_dict(url.replace("postgresql+asyncpg:", "postgresql:", 1))
        except psycopg.ProgrammingError as error:
            raise UnusableServerError(
                f"not an address of PostgreSQL: {str(error).strip()}"
            ) from None
        mode = parts.get("sslmode")
        if mode in _TLS_MODES:
            raise UnusableServerError(
                f"sslmode={mode} demands TLS: {_NO_TLS}; use a server without"
            )
        return cls(
            host=str(parts.get("host") or parts.get("hostaddr") or "localhost"),
            port=int(parts.get("port") or 5432),
            user=str(parts.get("user") or "postgres"),
            database=str(parts.get("dbname") or parts.get("user") or "postgres"),
            password=str(parts.get("password") or ""),
        )

    @property
    def is_local(self) -> bool:
        """Whether it is reached through a unix socket."""
        return self.host.startswith("/")

    @property
    def address(self) -> Address:
        """The socket's path, or host and port."""
        if self.is_local:
            return Address(path=f"{self.host}/.s.PGSQL.{self.port}")
        return Address(host=self.host, port=self.port)

    @property
    def url(self) -> str:
        """The address that drivers take."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        who = f"{quote(self.user, safe='')}{secret}"
        database = quote(self.database, safe="")
        if self.is_local:
            folder = quote(self.host, safe="")
            return f"postgresql://{who}@/{database}?host={folder}&port={self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{who}@{host}:{self.port}/{database}"

    def behind(self, folder: Path, port: int) -> "PostgresServer":
        """The same server as a worker sees it, through the gate in a folder of its own."""
        return replace(self, host=str(folder), port=port)

    def using(self, database: str) -> "PostgresServer":
        """Another database of the same server."""
        return replace(self, database=database)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis or Valkey that the kit may empty.

    Attributes:
        socket: of a server that is reached through a unix socket, else `None`.
        host: of one that is reached over TCP, else empty.
        database: the number that workers use.
        username: empty for the default user.
        password: empty where the server asks for none.
    """

    socket: Path | None = None
    host: str = ""
    port: int = 6379
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.socket is None) == (not self.host):
            raise UnusableServerError("a Redis server has a unix socket, or a host and a port")

    @classmethod
    def from_url(cls, url: str) -> "RedisServer":
        """The server behind an address as clients take it: ``redis://…`` or ``unix://…``.

        Raises:
            UnusableServerError: it is no address of Redis, or demands TLS.
        """
        if url.startswith("rediss:"):
            raise UnusableServerError(f"rediss:// demands TLS: {_NO_TLS}; use a server without")
        try:
            parts = parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise UnusableServerError(f"not an address of Redis: {error}") from None
        socket = parts.get("path")
        return cls(
            Path(socket) if socket else None,
            "" if socket else str(parts.get("host") or "localhost"),
            int(parts.get("port") or 6379),
            int(parts.get("db") or 0),
            str(parts.get("username") or ""),
            str(parts.get("password") or ""),
        )

    @property
    def address(self) -> Address:
        """The socket's path, or host and port."""
        return Address(path=str(self.socket)) if self.socket else Address("", self.host, self.port)

    @property
    def url(self) -> str:
        """The address that clients take."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        who = f"{quote(self.username, safe='')}{secret}@" if self.username or secret else ""
        if self.socket:
            return f"unix://{who}{quote(str(self.socket))}?{urlencode({'db': self.database})}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{who}{host}:{self.port}/{self.database}"

    @property
    def broker_url(self) -> str:
        """The address that Celery takes for its broker, in a database apart from the workers'."""
        url = replace(self, database=_BROKER_DATABASE).url
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)

    def behind(self, socket: Path) -> "RedisServer":
        """The same server as a worker sees it, through its gate's socket."""
        return replace(self, socket=socket, host="")


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
