"""Connections through passing gates, and the footprint of each request as a reader tells it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from contention.model.footprints import Footprint
from contention.wire.actors import is_step
from contention.wire.events import Failure
from contention.wire.footprint_reader import FootprintReader
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.locks_seen import LockWatcher
from contention.wire.plans import Plans
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresRequest

from .wire_servers import PostgresServer

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_MOST_QUESTIONS = 10_000
SCHEMA = """
    CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL DEFAULT 0, name text UNIQUE);
    CREATE TABLE orders (id serial PRIMARY KEY, account_id int REFERENCES accounts, item text);
    CREATE TABLE pairs (a int, b text, value int, PRIMARY KEY (a, b));
    CREATE TABLE notes (body text);
    INSERT INTO accounts VALUES (1, 10, 'one'), (2, 20, 'two');
    INSERT INTO pairs VALUES (1, 'x', 0), (1, 'y', 0);
    """


@dataclass
class Lab:
    """A keeper that lets everything pass and notes the steps."""

    server: PostgresServer
    database: str
    folder: Path
    watcher: LockWatcher
    reader: FootprintReader = field(init=False)
    gates: list[Gate] = field(default_factory=list)
    clients: list["Connection"] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
    sent: dict[str, Request] = field(default_factory=dict)
    answered: dict[str, tuple[Lane, Request, Reply, Footprint | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reader = FootprintReader(self.watcher)

    def opened(self, lane: Lane) -> None:
        self.lanes[lane.worker] = lane

    def arrived(self, lane: Lane, request: Request) -> bool:
        self.reader.saw(lane, request)
        if is_step(request) or self.reader.is_looking(lane, request):
            self.sent[lane.worker] = request
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        if self.sent.get(lane.worker) is request:
            ended = self.reader.ended(lane, request)
            self.answered[lane.worker] = (lane, request, reply, ended)
        else:
            self.reader.passed(lane, request, reply)

    def failed(self, lane: Lane, failure: Failure) -> None:
        raise AssertionError(f"{lane.name}: {failure}")

    def closed(self, lane: Lane) -> None:
        self.reader.forget(lane)

    async def url(self, name: str) -> str:
        """The address of a gate that is a worker's own."""
        own = self.folder / name
        own.mkdir()
        gate = Gate(name, Address(path=self.server.socket), PostgresFraming, self)
        await gate.listen(Address(path=str(own / ".s.PGSQL.5432")))
        self.gates.append(gate)
        return f"postgresql://postgres@/{self.database}?host={own}&port=5432"

    async def connect(self, name: str, **settings: str) -> "Connection":
        client = await asyncpg.connect(await self.url(name), server_settings=settings or None)
        self.clients.append(client)
        return client

    async def told(self, name: str) -> Footprint:
        """What a worker's last answered step touched."""
        lane, request, reply, ended = self.answered.pop(name)
        return ended if ended is not None else await self.reader.of(lane, request, reply)

    async def touched(self, name: str) -> set[str]:
        return in_words(await self.told(name))

    async def waiting(self, name: str) -> set[str]:
        """What a worker's request touches that waits, once the server says that it does."""
        lane = self.lanes[name]
        assert lane.process_id is not None
        for _ in range(_MOST_QUESTIONS):
            if (await self.watcher.blockers([lane.process_id]))[lane.process_id]:
                break
        request = self.sent[name]
        assert isinstance(request, PostgresRequest)
        return in_words(await self.reader.so_far(lane, request))


def in_words(footprint: Footprint) -> set[str]:
    """A footprint as sentences, without who is at a table at all; unknown as such."""
    if not footprint.is_known:
        return {"unknown"}
    return {
        f"{mode} {resource}"
        for resource, mode in footprint.touches
        if not resource.name.startswith(("readers of", "writers of"))
    }


def row(value: str, key: str = "accounts_pkey", table: str = "accounts") -> str:
    return f"row {value} ({key}) of table {table}"


@asynccontextmanager
async def laboratory(
    server: PostgresServer, schema: str = SCHEMA, plans: Plans | None = None
) -> AsyncIterator[Lab]:
    database = "footprints"
    admin = await asyncpg.connect(server.uri)
    await admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {database}")
    folder, port = Path(server.socket).parent, server.socket.rpartition(".")[2]
    watching = await asyncpg.connect(f"postgresql://postgres@/{database}?host={folder}&port={port}")
    await watching.execute(schema)
    with TemporaryDirectory(prefix="ct-") as gates:
        lab = Lab(server, database, Path(gates), await LockWatcher.on(watching, plans))
        try:
            yield lab
        finally:
            for client in lab.clients:
                client.terminate()
            for gate in lab.gates:
                await gate.close()
            await watching.close()
            await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
            await admin.close()
