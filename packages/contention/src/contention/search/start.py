"""The state from which every run begins."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from contention.search.calls import called
from contention.wire.backends import Backends
from contention.wire.embedded import memory_folder
from contention.wire.open_gate import OpenGate
from contention.wire.own_connections import (
    check_postgres,
    check_redis,
    connect_postgres,
    connect_redis,
)
from contention.wire.own_links import OwnLinks
from contention.wire.redis_scripts import Scripts
from contention.wire.restore_database import DatabaseStart
from contention.wire.restore_keys import KeysStart
from contention.wire.servers import Links, Servers

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

TEMPLATE: Final = "contention_template"
RUN: Final = "contention_run"

Setup = Callable[[Links], object]


async def connect(servers: Servers, database: str) -> "Connection":
    """A connection of the kit's own."""
    return await connect_postgres(servers.postgres.using(database))


class Start:
    """What every run begins with, and what stays open from one run to the next.

    Attributes:
        backends: those of PostgreSQL that served workers and may do so again.
        scripts: those of Redis that the workers brought.
        gates: the workers' own links.
    """

    def __init__(self, servers: Servers, database: DatabaseStart, keys: KeysStart) -> None:
        self.backends = Backends(self._forget_lookers)
        self.scripts = Scripts()
        self._folder = TemporaryDirectory(
            prefix="ct-", dir=memory_folder(), ignore_cleanup_errors=True
        )
        self._servers = servers
        self._database = database
        self._keys = keys
        self._looking: Connection | None = None
        self._gate: OpenGate | None = None
        own = Servers(servers.postgres.using(RUN), servers.redis)
        self.gates = OwnLinks(Path(self._folder.name), own, self.backends, self.scripts)

    @classmethod
    async def made_by(cls, setup: Setup | None, servers: Servers, admin: "Connection") -> "Start":
        """What ``setup`` makes on empty servers.

        Raises:
            UnusableServerError: one of the servers cannot be used, and why.
        """
        await check_postgres(admin, servers.postgres)
        await check_redis(servers.redis)
        await drop(admin)
        await admin.execute(f"CREATE DATABASE {RUN}")
        client = connect_redis(servers.redis)
        await client.flushall()
        await client.aclose()
        own = Servers(servers.postgres.using(RUN), servers.redis)
        if setup is not None:
            await called(setup, own.links)
        database = await DatabaseStart.of(own.postgres, TEMPLATE, admin)
        try:
            return cls(servers, database, await KeysStart.of(servers.redis))
        except BaseException:
            await database.close()
            raise

    async def restore(self) -> None:
        """Make everything as it was at the start."""
        await self._keys.begin_to_restore()
        try:
            await self._database.restore(self._kept(), self._let_go)
        finally:
            await self._keys.restored()

    def keep_scripts(self) -> None:
        """Begin every run with the scripts of Redis loaded that are known by now."""
        self._keys.keep(self.scripts.keep())

    async def looking(self) -> "Connection":
        """The kit's own connection to the database of the run; whoever asks does not close it."""
        if self._looking is None or self._looking.is_closed():
            self._looking = await connect(self._servers, RUN)
        return self._looking

    @property
    def keys(self) -> Redis:
        """The kit's own look at the keys of the run; whoever asks does not close it."""
        return self._keys.client

    async def has_kept_shape(self) -> bool:
        """Whether it is certain that the tables of the run are those of the start."""
        return await self._database.has_kept_catalogs(self._kept())

    @asynccontextmanager
    async def links(self) -> AsyncIterator[Links]:
        """Addresses for who looks at the end of a run; nothing of the look is left after it.

        Raises:
            StageError: PostgreSQL was looked at in a way that cannot be understood.
        """
        own = self._servers.postgres.using(RUN)
        if self._gate is None:
            self._gate = await OpenGate.to(own, self._new_folder())
        try:
            yield Servers(self._gate.server, self._servers.redis).links
        finally:
            await self._gate.empty()

    async def close(self) -> None:
        """Close what stayed open."""
        await self.gates.close()
        self._let_go()
        if self._gate is not None:
            self._gate.close()
        self._folder.cleanup()
        await self._keys.close()
        await self._database.close()

    def forsake(self) -> None:
        """Close what is not in the loop of the runs, which does not turn any more."""
        if self._gate is not None:
            self._gate.close()
        self._folder.cleanup()

    def _new_folder(self) -> Path:
        """An empty folder for the sockets of gates."""
        return Path(mkdtemp(dir=self._folder.name))

    def _kept(self) -> list[int]:
        """The process ids of backends that stay, though nobody is served by them."""
        kept = self.backends.process_ids
        if self._looking is not None:
            kept.append(self._looking.get_server_pid())
        if self._gate is not None:
            kept += self._gate.process_ids
        return kept

    def _let_go(self) -> None:
        self.backends.close()
        self._forget_lookers()
        if self._looking is not None:
            self._looking.terminate()
            self._looking = None

    def _forget_lookers(self) -> None:
        if self._gate is not None:
            self._gate.forget()


async def drop(admin: "Connection") -> None:
    """Leave nothing behind."""
    for name in (RUN, TEMPLATE):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
