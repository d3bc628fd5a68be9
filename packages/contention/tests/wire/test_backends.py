"""A worker cannot tell whether its backend has served somebody before."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from contention.wire.backends import Backends
from contention.wire.events import Failure
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.own_connections import connect_postgres
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresReply, PostgresRequest
from contention.wire.servers import PostgresServer, Servers

from .wire_bytes import FLUSH, bind, complete, execute, parse, ready

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

SOCKET = ".s.PGSQL.5432"


@dataclass(slots=True)
class Door:
    """A keeper that lets pass what holds no hidden word, and a gate with kept backends."""

    server: PostgresServer
    backends: Backends = field(default_factory=Backends)
    lanes: list[Lane] = field(default_factory=list)
    closed_lanes: list[str] = field(default_factory=list)
    kept_at_closing: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_copying: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    gate: Gate | None = None
    folder: Path = Path()

    def opened(self, lane: Lane) -> None:
        self.lanes.append(lane)

    def arrived(self, lane: Lane, request: Request) -> bool:
        self.changed.set()
        return not (isinstance(request, PostgresRequest) and "held" in "".join(request.texts))

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        self.is_copying = isinstance(reply, PostgresReply) and reply.awaits_copy
        self.changed.set()

    def failed(self, lane: Lane, failure: Failure) -> None:
        self.failures.append(failure)

    def closed(self, lane: Lane) -> None:
        self.closed_lanes.append(lane.name)
        self.kept_at_closing = self.backends.process_ids
        self.changed.set()

    async def connect(self, **settings: str) -> "Connection":
        return await asyncpg.connect(
            host=str(self.folder),
            user=self.server.user,
            database=self.server.database,
            ssl=False,
            server_settings=settings,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def leave(self, connection: "Connection") -> None:
        """Close a connection and wait until the gate counts it as closed."""
        number = len(self.closed_lanes)
        await connection.close()
        await self.until(lambda: len(self.closed_lanes) > number)


@pytest.fixture
async def door(servers: Servers) -> AsyncIterator[Door]:
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        door = Door(servers.postgres, folder=Path(folder))
        door.gate = Gate("w1", servers.postgres.address, PostgresFraming, door, door.backends)
        await door.gate.listen(Address(path=f"{folder}/{SOCKET}"))
        yield door
        await door.gate.close()
        door.backends.close()


@pytest.fixture
async def watcher(servers: Servers) -> "AsyncIterator[Connection]":
    connection = await connect_postgres(servers.postgres)
    yield connection
    await connection.close()


Trace = Callable[["Connection"], Awaitable[object]]

TRACES: dict[str, tuple[str, str, object]] = {
    "a setting": ("SET work_mem = '77kB'", "SHOW work_mem", "4MB"),
    "a temporary table": ("CREATE TEMP TABLE t (a int)", "SELECT to_regclass('t')", None),
    "a prepared statement": (
        "PREPARE p AS SELECT 1",
        "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql IS NULL AND name = 'p'",
        0,
    ),
    "an advisory lock": (
        "SELECT pg_advisory_lock(1)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        0,
    ),
    "a channel": ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", 0),
    "a role": ("SET ROLE pg_monitor", "SELECT current_user", "postgres"),
    "an open transaction": ("BEGIN; SELECT 1", "SELECT pg_current_xact_id_if_assigned()", None),
    "a failed transaction": (
        "BEGIN; SELECT 1/0",
        "SELECT pg_current_xact_id_if_assigned()",
        None,
    ),
    "a cursor": (
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'c'",
        0,
    ),
    "an isolation level": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "read committed",
    ),
}


@pytest.mark.parametrize("trace", TRACES)
async def test_nothing_of_a_session_is_left_for_the_next(door: Door, trace: str) -> None:
    leave, look, expected = TRACES[trace]
    first = await door.connect()
    with suppress(asyncpg.DivisionByZeroError):
        await first.execute(leave)
    process_id = first.get_server_pid()
    await door.leave(first)
    second = await door.connect()
    assert second.get_server_pid() == process_id
    assert await second.fetchval(look) == expected
    await door.leave(second)


UNKEPT = {
    "a setting that nobody defined": "SET my.setting = 'x'",
    "one set by a function": "SELECT set_config('my.setting', 'x', false)",
    "a seed": "SELECT setseed(0.5)",
    "a library": "LOAD 'auto_explain'",
    "a change of what sessions begin with": "ALTER ROLE postgres SET work_mem = '4MB'",
}


@pytest.mark.parametrize("trace", UNKEPT)
async def test_a_session_that_leaves_more_is_not_kept(door: Door, trace: str) -> None:
    first = await door.connect()
    await first.execute(UNKEPT[trace])
    process_id = first.get_server_pid()
    await door.leave(first)
    second = await door.connect()
    assert second.get_server_pid() != process_id
    await second.execute("ALTER ROLE postgres RESET work_mem")
    await door.leave(second)


async def test_a_change_of_what_sessions_begin_with_reaches_the_next_one(door: Door) -> None:
    both = [await door.connect(), await door.connect()]
    await door.leave(both[0])
    await both[1].execute("ALTER ROLE postgres SET work_mem = '77kB'")
    next_one = await door.connect()
    assert await next_one.fetchval("SHOW work_mem") == "77kB"
    await next_one.execute("ALTER ROLE postgres RESET work_mem")
    for connection in (both[1], next_one):
        await door.leave(connection)


async def test_locks_are_gone_when_a_connection_counts_as_closed(
    door: Door, watcher: "Connection"
) -> None:
    holder = await door.connect()
    await holder.execute("BEGIN; SELECT pg_advisory_xact_lock(7); SELECT pg_advisory_lock(8)")
    process_id = holder.get_server_pid()
    await door.leave(holder)
    assert door.kept_at_closing == [process_id], "it was stripped of everything by then"
    assert await watcher.fetchval("SELECT pg_try_advisory_lock(7) AND pg_try_advisory_lock(8)")
    await watcher.execute("SELECT pg_advisory_unlock_all()")


async def test_other_words_at_the_opening_have_another_backend(door: Door) -> None:
    first = await door.connect()
    process_id = first.get_server_pid()
    await door.leave(first)
    second = await door.connect(work_mem="77kB")
    assert second.get_server_pid() != process_id
    assert await second.fetchval("SHOW work_mem") == "77kB"
    await door.leave(second)


async def test_two_connections_at_once_have_two_backends(door: Door) -> None:
    connections = [await door.connect(), await door.connect()]
    assert len({connection.get_server_pid() for connection in connections}) == 2
    for connection in connections:
        await door.leave(connection)
    assert len(door.backends.process_ids) == 2


async def test_a_kept_backend_can_be_cancelled(door: Door, watcher: "Connection") -> None:
    await door.leave(await door.connect())
    connection = await door.connect()
    await watcher.execute("SELECT pg_advisory_lock(9)")
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_advisory_lock(9)", timeout=0.2)
    assert await connection.fetchval("SELECT 1") == 1
    await watcher.execute("SELECT pg_advisory_unlock_all()")
    process_id = connection.get_server_pid()
    await door.leave(connection)
    assert process_id not in door.backends.process_ids


async def test_a_worker_that_falls_silent_in_a_statement_is_cut_for_real(
    door: Door, watcher: "Connection"
) -> None:
    await watcher.execute("SELECT pg_advisory_lock(9)")
    connection = await door.connect()
    waiting = asyncio.create_task(connection.execute("SELECT pg_advisory_lock(9)"))
    await door.until(lambda: any(lane.is_awaiting_reply for lane in door.lanes))
    connection.terminate()
    await door.until(lambda: door.closed_lanes == ["w1/1"])
    assert not door.backends.process_ids
    assert not door.lanes[0].has_let_go, "the server may not have noticed yet"
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await waiting
    await watcher.execute("SELECT pg_advisory_unlock_all()")


async def test_a_copy_that_is_under_way_is_cut_for_real(door: Door) -> None:
    connection = await door.connect()
    never = asyncio.Event()

    async def rows() -> AsyncIterator[bytes]:
        yield b"1\n"
        await never.wait()

    await connection.execute("CREATE TEMP TABLE copied (a int)")
    copying = asyncio.create_task(connection.copy_to_table("copied", source=rows()))
    await door.until(lambda: door.is_copying)
    connection.terminate()
    await door.until(lambda: door.closed_lanes == ["w1/1"])
    never.set()
    await asyncio.gather(copying, return_exceptions=True)
    assert not door.backends.process_ids


async def test_a_held_request_never_reaches_a_kept_backend(
    door: Door, watcher: "Connection"
) -> None:
    await watcher.execute("DROP TABLE IF EXISTS things; CREATE TABLE things (a int)")
    connection = await door.connect()
    asking = asyncio.create_task(connection.execute("INSERT INTO things VALUES (1) -- held"))
    await door.until(lambda: door.lanes[0].held is not None)
    assert door.gate is not None
    await door.gate.close()
    assert door.closed_lanes == ["w1/1"]
    assert await watcher.fetchval("SELECT count(*) FROM things") == 0
    assert len(door.backends.process_ids) == 1, "it stays although its gate was closed"
    await asyncio.gather(asking, return_exceptions=True)
    connection.terminate()
    await watcher.execute("DROP TABLE things")


async def test_a_backend_that_the_server_ends_while_it_waits_is_not_used(
    door: Door, watcher: "Connection"
) -> None:
    await door.leave(await door.connect())
    (process_id,) = door.backends.process_ids
    assert await watcher.fetchval("SELECT pg_terminate_backend($1, 10000)", process_id)
    connection = await door.connect()
    assert connection.get_server_pid() != process_id
    assert await connection.fetchval("SELECT 1") == 1
    await door.leave(connection)
    assert not door.failures


async def test_a_session_that_is_left_before_a_sync_is_kept_and_serves(
    door: Door,
) -> None:
    await door.leave(await door.connect())
    (process_id,) = door.backends.process_ids
    reader, writer = await asyncio.open_unix_connection(door.folder / SOCKET)
    writer.write(door.lanes[0].start_up_packet)
    await reader.readuntil(ready())
    writer.write(parse("SELECT 'done'") + bind() + execute() + FLUSH)
    await reader.readuntil(complete("SELECT 1"))
    writer.close()
    await door.until(lambda: door.closed_lanes[1:] == ["w1/2"])
    assert door.backends.process_ids == [process_id]
    connection = await door.connect()
    assert connection.get_server_pid() == process_id
    assert await connection.fetchval("SELECT 1") == 1
    await door.leave(connection)


async def test_counts_of_written_rows_are_told_before_a_connection_counts_as_closed(
    door: Door, watcher: "Connection"
) -> None:
    await watcher.execute("DROP TABLE IF EXISTS counted; CREATE TABLE counted (a int)")
    connection = await door.connect()
    await connection.execute("INSERT INTO counted VALUES (1)")
    await door.leave(connection)
    assert door.lanes[0].has_let_go
    inserted = "SELECT pg_stat_get_tuples_inserted('counted'::regclass)"
    assert await watcher.fetchval(inserted) == 1
    await watcher.execute("DROP TABLE counted")
