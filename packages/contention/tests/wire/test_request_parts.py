"""Requests in parts: others come in between, and the client is told what it is told without."""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contention.wire.backends import Backends
from contention.wire.events import Failure
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.own_connections import connect_postgres
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import Execution, PostgresReply, PostgresRequest
from contention.wire.request_parts import END_TEXT
from contention.wire.servers import Servers

from .wire_bytes import FLUSH, SYNC, bind, describe, execute, parse, query

TABLES = """
    CREATE TABLE accounts (id int PRIMARY KEY, amount int);
    INSERT INTO accounts VALUES (1, 10), (2, 20);
    CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE FUNCTION add_one() RETURNS int LANGUAGE sql
        AS 'UPDATE accounts SET amount = amount + 1 WHERE id = 1 RETURNING amount';
    CREATE FUNCTION tells() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'told'; END $$;
    CREATE PROCEDURE commits() LANGUAGE plpgsql
        AS $$ BEGIN UPDATE accounts SET amount = 0; COMMIT; UPDATE accounts SET amount = 1; END $$;
    """
ADD = "UPDATE accounts SET amount = amount + 1"
QUERIES = (
    ADD,
    f"{ADD} RETURNING *, amount::numeric / 3, now() IS NULL",
    f"{ADD} WHERE id = 7",
    "SELECT add_one(), tells()",
    "SELECT * FROM accounts WHERE id = 7 FOR UPDATE",
    "INSERT INTO accounts SELECT id + 10, 1 FROM accounts",
    "INSERT INTO accounts VALUES (1, 1)",
    "INSERT INTO late VALUES (1), (1)",
    "INSERT INTO late VALUES (3), (3) RETURNING id",
    f"{ADD} WHERE nothing = 1",
    f"{ADD} WHERE id = 1 / 0",
    f"{ADD}; SELECT amount FROM accounts ORDER BY id;",
    f"SELECT 1; {ADD} RETURNING id; SELECT nothing; {ADD}",
    f"{ADD}; INSERT INTO late VALUES (1), (1); SELECT 1",
    f"{ADD}; INSERT INTO accounts VALUES (1, 1); SELECT 1",
    "INSERT INTO late VALUES (1); INSERT INTO late VALUES (1)",
    "SET application_name = 'other'; SELECT 1; SHOW application_name",
    f"/* é */ {ADD} -- the end",
    "-- nothing",
    ";",
    "",
    "DO $$ BEGIN UPDATE accounts SET amount = 0; END $$",
    "DO $$ BEGIN UPDATE accounts SET amount = 0; COMMIT; END $$",
    "CALL commits()",
    f"{ADD}; CALL commits()",
    "CREATE TABLE IF NOT EXISTS accounts (id int)",
    "CREATE TABLE made AS SELECT * FROM accounts",
    "TRUNCATE accounts",
    "VACUUM accounts",
    f"{ADD}; VACUUM accounts",
    "CREATE INDEX CONCURRENTLY ON accounts (amount)",
    "LOCK TABLE accounts",
    f"{ADD}; LOCK TABLE accounts",
    "SAVEPOINT a",
    "SET LOCAL work_mem = '1MB'",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "NOTIFY nobody",
    "LISTEN nobody; NOTIFY nobody",
    "PREPARE p AS UPDATE accounts SET amount = 3 RETURNING id",
    "EXPLAIN (COSTS OFF) UPDATE accounts SET amount = 3",
    "COPY accounts TO STDOUT",
    f"BEGIN; {ADD}; COMMIT; {ADD}",
    f"BEGIN; {ADD}; SELECT 1 / 0",
    "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(1)",
    "MERGE INTO accounts a USING (VALUES (2)) v (id) ON a.id = v.id WHEN MATCHED THEN DELETE",
)
RUN = describe("P") + execute()
RUNS = {
    "one statement": (parse(ADD) + bind() + RUN + SYNC,),
    "prepared before": (
        parse(ADD, "a") + describe("S", "a") + FLUSH,
        bind(name="a") + RUN + SYNC,
        bind(name="a") + RUN + SYNC,
    ),
    "several statements": (
        parse(ADD, "a")
        + bind(name="a")
        + RUN
        + parse("SELECT amount FROM accounts ORDER BY id")
        + bind()
        + RUN
        + bind(name="a")
        + execute()
        + SYNC,
    ),
    "a statement that is refused among others": (
        parse(ADD) + bind() + RUN + parse("SELECT 1 / 0", "b") + bind(name="b") + RUN
        + parse(ADD, "c") + bind(name="c") + RUN + SYNC,
        query("SELECT amount FROM accounts ORDER BY id"),
    ),
    "a statement that cannot be parsed": (
        parse("nonsense") + bind() + RUN + parse(ADD, "c") + bind(name="c") + RUN + SYNC,
    ),
    "a refusal at the end": (
        parse("INSERT INTO late VALUES (1), (1)") + bind() + RUN + SYNC,
        query("SELECT count(*) FROM late"),
    ),
    "a Sync after a Flush": (
        parse(ADD) + bind() + RUN + FLUSH,
        SYNC,
        query("SELECT amount FROM accounts ORDER BY id"),
    ),
    "rows in portions": (
        parse(f"{ADD} RETURNING id") + bind(portal="p") + execute("p", 1) + execute("p", 1) + SYNC,
    ),
    "a block within": (
        parse("BEGIN") + bind() + RUN + parse(ADD) + bind() + RUN + SYNC,
        parse(ADD) + bind() + RUN + parse("ROLLBACK") + bind() + RUN
        + parse(ADD) + bind() + RUN + SYNC,
        query("SELECT amount FROM accounts ORDER BY id"),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Divides:
    """A keeper that takes requests apart, and lets all pass in the order in which they come."""

    texts: list[str] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    lets_end: bool = True
    has_replied: asyncio.Event = field(default_factory=asyncio.Event)
    has_closed: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, lane: Lane) -> None:
        self.lanes.append(lane)

    def ends_apart(self, lane: Lane, execution: Execution) -> bool:
        return True

    def arrived(self, lane: Lane, request: Request) -> bool:
        comes_later = lane.held is not request or lane.is_awaiting_reply
        return not (comes_later and isinstance(request, PostgresRequest) and request.follows)

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        assert isinstance(request, PostgresRequest)
        assert isinstance(reply, PostgresReply)
        if request.executions:
            self.texts.extend(request.texts)
        self.has_replied.set()
        if lane.held is not None and self.lets_end:
            lane.let_pass()

    def failed(self, lane: Lane, failure: Failure) -> None:
        self.failures.append(failure)

    def closed(self, lane: Lane) -> None:
        self.has_closed.set()


@asynccontextmanager
async def through_a_gate(
    server: Address, keeper: Divides, backends: Backends | None = None
) -> AsyncIterator[Address]:
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        gate = Gate("w1", server, PostgresFraming, keeper, backends)
        listening = await gate.listen(Address(path=str(Path(folder) / ".s.PGSQL.5432")))
        try:
            yield listening
        finally:
            await gate.close()


async def conversation(address: Address, requests: Sequence[bytes]) -> list[bytes]:
    """What a server says to a client that sends one request after another, in messages."""
    reader, writer = await logged_in(address)
    told = []
    for request in requests:
        writer.write(request)
        waits_for = b"Z"
        if request.endswith(FLUSH):
            waits_for = b"C" if execute() in request else b"n"
        told += await until(reader, waits_for)
    writer.close()
    await writer.wait_closed()
    return told


async def logged_in(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(address.path)
    start = b"user\0postgres\0database\0parts\0\0"
    writer.write(struct.pack(">II", len(start) + 8, 3 << 16) + start)
    await until(reader, b"Z")
    return reader, writer


async def until(reader: asyncio.StreamReader, letters: bytes) -> list[bytes]:
    """Messages up to one of these; of notifications, not who sent them."""
    messages: list[bytes] = []
    while not messages or messages[-1][0] not in letters:
        head = await reader.readexactly(5)
        messages.append(head + await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4))
    return [one if one[:1] != b"A" else one[:5] + one[9:] for one in messages]


@pytest.fixture
async def server(servers: Servers) -> AsyncIterator[Address]:
    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("CREATE DATABASE parts_template")
    connection = await connect_postgres(servers.postgres.using("parts_template"))
    await connection.execute(TABLES)
    await connection.close()
    try:
        yield Address(path=f"{servers.postgres.host}/.s.PGSQL.{servers.postgres.port}")
    finally:
        for name in ("parts", "parts_template"):
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


async def renew(servers: Servers) -> None:
    """The same database again, down to the numbers of its tables."""
    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("DROP DATABASE IF EXISTS parts WITH (FORCE)")
    await admin.execute("CREATE DATABASE parts TEMPLATE parts_template")
    await admin.close()


async def same(servers: Servers, server: Address, requests: Sequence[bytes]) -> Divides:
    keeper = Divides()
    await renew(servers)
    direct = await conversation(server, requests)
    await renew(servers)
    async with through_a_gate(server, keeper) as gate:
        divided = await conversation(gate, requests)
    assert divided == direct
    assert not keeper.failures
    return keeper


@pytest.mark.parametrize("sql", QUERIES)
async def test_a_query_in_parts_is_answered_like_a_query(
    servers: Servers, server: Address, sql: str
) -> None:
    await same(servers, server, [query(sql), query("SELECT amount FROM accounts ORDER BY id")])


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_in_parts_is_answered_like_a_run(
    servers: Servers, server: Address, name: str
) -> None:
    await same(servers, server, RUNS[name])


async def test_each_statement_and_the_end_are_parts(servers: Servers, server: Address) -> None:
    keeper = await same(servers, server, [query(f"{ADD}; SELECT 1")])
    assert keeper.texts == [ADD, "SELECT 1", END_TEXT]
    keeper = await same(servers, server, RUNS["several statements"])
    assert keeper.texts == [ADD, "SELECT amount FROM accounts ORDER BY id", ADD, END_TEXT]


async def test_what_has_not_ended_is_undone_when_its_client_goes(
    servers: Servers, server: Address
) -> None:
    await renew(servers)
    keeper, backends = Divides(lets_end=False), Backends()
    async with through_a_gate(server, keeper, backends) as gate:
        _, writer = await logged_in(gate)
        writer.write(query(ADD))
        await keeper.has_replied.wait()
        writer.close()
        await keeper.has_closed.wait()
    assert backends.process_ids, "the backend is kept"
    backends.close()
    connection = await connect_postgres(servers.postgres.using("parts"))
    assert await connection.fetchval("SELECT sum(amount) FROM accounts") == 30
    await connection.close()
