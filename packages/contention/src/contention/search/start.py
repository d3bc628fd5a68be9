"""The state from which every run begins."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from contention.wire.own_connections import connect_postgres
from contention.wire.servers import Links, Servers

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

TEMPLATE: Final = "contention_template"
RUN: Final = "contention_run"

Setup = Callable[[Links], Awaitable[object]]


async def connect(servers: Servers, database: str) -> "Connection":
    """A connection of the kit's own."""
    return await connect_postgres(servers.postgres.using(database))


@dataclass(frozen=True, slots=True)
class Start:
    """A template database, and keys with what they hold."""

    servers: Servers
    keys: tuple[tuple[bytes, bytes, int], ...]

    @classmethod
    async def made_by(cls, setup: Setup | None, servers: Servers, admin: "Connection") -> "Start":
        """What ``setup`` makes on empty servers."""
        await drop(admin)
        await admin.execute(f"CREATE DATABASE {TEMPLATE}")
        client = Redis.from_url(servers.redis.url)
        await client.flushall()
        await client.aclose()
        if setup is not None:
            await setup(Servers(servers.postgres.using(TEMPLATE), servers.redis).links)
        return cls(servers, await _keys(servers))

    async def restore(self, admin: "Connection") -> None:
        """Make everything as it was at the start."""
        await admin.execute(f"DROP DATABASE IF EXISTS {RUN} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {RUN} TEMPLATE {TEMPLATE}")
        client = Redis.from_url(self.servers.redis.url)
        await client.flushall()
        await client.script_flush()
        for name, dumped, remaining_ms in self.keys:
            await client.restore(name, remaining_ms, dumped)
        await client.aclose()


async def drop(admin: "Connection") -> None:
    """Leave nothing behind."""
    for name in (RUN, TEMPLATE):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _keys(servers: Servers) -> tuple[tuple[bytes, bytes, int], ...]:
    client = Redis.from_url(servers.redis.url)
    keys = []
    for name in await client.keys("*"):
        dumped = await client.dump(name)
        if isinstance(name, bytes) and dumped is not None:
            keys.append((name, dumped, max(0, await client.pttl(name))))
    await client.aclose()
    return tuple(keys)
