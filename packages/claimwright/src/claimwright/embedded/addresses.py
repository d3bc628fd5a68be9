"""Where the embedded servers can be reached, and as whom."""

from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import URL, make_url

POSTGRES_PORT = 5432
"""Part of the socket's file name only; nothing listens on TCP."""

DATABASE = "claimwright"
APPLICATION_LOGIN = "claimwright"
OWNER_LOGIN = "claimwright_owner"
SUPERUSER_LOGIN = "postgres"


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """One database and one Valkey, by unix socket.

    Attributes:
        database_url: SQLAlchemy (asyncpg) address for the application's login role, which may
            read and write what migrations grant it, and owns nothing.
        owner_database_url: the same database for the role that owns it; migrations use it.
        superuser_database_url: the same database for PostgreSQL's superuser; for tests.
        redis_url: what ``redis.asyncio.from_url`` takes.
        folder: what `embedded_servers` was given, absolute.
    """

    database_url: str
    owner_database_url: str
    superuser_database_url: str
    redis_url: str
    folder: Path

    def for_database(self, name: str) -> "ServerAddresses":
        """Return the addresses of another database on the same server."""
        return replace(
            self,
            database_url=_with_database(self.database_url, name),
            owner_database_url=_with_database(self.owner_database_url, name),
            superuser_database_url=_with_database(self.superuser_database_url, name),
        )


def server_addresses(*, folder: Path, sockets: Path, valkey_socket: Path) -> ServerAddresses:
    """Return the addresses of the servers whose sockets are in ``sockets``."""
    return ServerAddresses(
        database_url=_database_url(sockets, APPLICATION_LOGIN),
        owner_database_url=_database_url(sockets, OWNER_LOGIN),
        superuser_database_url=_database_url(sockets, SUPERUSER_LOGIN),
        redis_url=f"unix://{valkey_socket}?db=0",
        folder=folder,
    )


def _database_url(sockets: Path, login: str) -> str:
    # The port is spelled out because asyncpg would otherwise take it from PGPORT.
    url = URL.create(
        "postgresql+asyncpg",
        username=login,
        database=DATABASE,
        query={"host": str(sockets), "port": str(POSTGRES_PORT)},
    )
    return url.render_as_string(hide_password=False)


def _with_database(address: str, name: str) -> str:
    return make_url(address).set(database=name).render_as_string(hide_password=False)
