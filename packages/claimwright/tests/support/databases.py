"""What tests need to reach a database past the engine: plain asyncpg connections, by role."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from sqlalchemy.engine import make_url

from claimwright.embedded import ServerAddresses

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection


def environment_of(addresses: ServerAddresses) -> dict[str, str]:
    """The variables that make the engine use these servers, as the application's role."""
    return {
        "CLAIMWRIGHT_DATABASE_URL": addresses.database_url,
        "CLAIMWRIGHT_OWNER_DATABASE_URL": addresses.owner_database_url,
        "CLAIMWRIGHT_REDIS_URL": addresses.redis_url,
    }


@dataclass(slots=True)
class Connections:
    """Opens plain connections to one database; `plain_connections` closes all of them.

    They have no time-outs, no pool and nothing of the engine's: what psql would be.
    """

    addresses: ServerAddresses
    _opened: list[Connection] = field(default_factory=list)

    async def application(self) -> Connection:
        """A new connection as the application's login, which owns nothing."""
        return await self._open(self.addresses.database_url)

    async def owner(self) -> Connection:
        """A new connection as the role that owns the tables."""
        return await self._open(self.addresses.owner_database_url)

    async def superuser(self) -> Connection:
        """A new connection as PostgreSQL's superuser."""
        return await self._open(self.addresses.superuser_database_url)

    async def close(self) -> None:
        """Close every connection that was opened; one that is in the middle of something is cut."""
        while self._opened:
            connection = self._opened.pop()
            try:
                await connection.close(timeout=2)
            except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
                connection.terminate()

    async def _open(self, address: str) -> Connection:
        url = make_url(address).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        self._opened.append(connection)
        return connection


@asynccontextmanager
async def plain_connections(addresses: ServerAddresses) -> AsyncIterator[Connections]:
    """Plain connections to one database, closed at the end of the block."""
    opened = Connections(addresses)
    try:
        yield opened
    finally:
        await opened.close()
