"""Each request of a worker in this process has the line of the test that asked, in every driver."""

import asyncio
import importlib.util
import inspect
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path

import asyncpg
import psycopg
import psycopg2
import pytest
import redis
import redis.asyncio
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from contention.wire.actors import is_step, text_of
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.redis_scripts import Scripts
from contention.wire.servers import Links, Servers
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, Worker
from contention.wire.workers_kinds import worker_for

HERE = Path(__file__)
SQL = "SELECT 1 + 1"


class Asked:
    """Lets everything pass a moment after it was held, and notes where it was asked."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self.loop = loop
        self.worker: Worker | None = None
        self.places: list[tuple[str, str]] = []

    def opened(self, lane: Lane) -> None: ...
    def replied(self, lane: Lane, request: Request, reply: Reply) -> None: ...
    def closed(self, lane: Lane) -> None: ...

    def failed(self, lane: Lane, failure: object) -> None:
        raise AssertionError(failure)

    def arrived(self, lane: Lane, request: Request) -> bool:
        if not is_step(request):
            return True
        self.loop.call_later(0.02, self.note, lane, request)
        return False

    def note(self, lane: Lane, request: Request) -> None:
        assert self.worker is not None
        self.places.append((text_of(request), self.worker.asks_at(text_of(request))))
        lane.let_pass()


def asked_by(servers: Servers, body: Body) -> list[tuple[str, str]]:
    """What a worker asks, and where."""
    loop = VirtualClockLoop()
    asked = Asked(loop)

    async def play() -> object:
        ended = asyncio.Event()
        with tempfile.TemporaryDirectory(prefix="ct-") as name:
            folder = Path(name)
            postgres = Gate("w1", servers.postgres.address, PostgresFraming, asked)
            await postgres.listen(Address(path=str(folder / ".s.PGSQL.5432")))
            scripts = Scripts()
            keys = Gate("w1", servers.redis.address, lambda: RespFraming(scripts), asked)
            await keys.listen(Address(path=str(folder / "redis.sock")))
            asked.worker = worker_for("w1", body, loop, ended.set)
            asked.worker.start(
                Links(
                    servers.postgres.behind(folder, 5432).url,
                    servers.redis.behind(folder / "redis.sock").url,
                )
            )
            await ended.wait()
            await postgres.close()
            await keys.close()
            await asked.worker.stop()
        return asked.worker.outcome

    try:
        outcome = loop.run_until_complete(play())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    if isinstance(outcome, BaseException):
        raise outcome
    return asked.places


def marked(body: Callable[..., object], mark: str = "# asks") -> list[str]:
    """The lines of a function that end with a mark, as they should be told."""
    lines, first = inspect.getsourcelines(body)
    shown = HERE.relative_to(Path.cwd()) if HERE.is_relative_to(Path.cwd()) else HERE
    return [
        f"{shown}:{number}"
        for number, line in enumerate(lines, start=first)
        if line.rstrip().endswith(mark)
    ]


def sqlalchemy_url(links: Links, driver: str) -> str:
    return links.postgres_url.replace("postgresql:", f"postgresql+{driver}:")


async def with_asyncpg(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url)
    async with connection.transaction():  # asks
        await connection.fetchval(SQL)  # asks
        async for _ in connection.cursor(SQL):  # asks
            pass
    await connection.close()


async def with_psycopg_async(links: Links) -> None:
    connection = await psycopg.AsyncConnection.connect(links.postgres_url, autocommit=True)
    cursor = await connection.execute(SQL)  # asks
    await cursor.execute("SELECT %s::int", (3,))  # asks
    await connection.close()


async def with_sqlalchemy_async(links: Links, driver: str) -> None:
    engine = create_async_engine(sqlalchemy_url(links, driver))
    async with AsyncSession(engine) as session:
        await session.execute(text(SQL))  # asks
        await session.run_sync(
            lambda inner: inner.execute(text(SQL))  # asks
        )
        await session.commit()  # asks
    await engine.dispose()


async def with_sqlalchemy_on_asyncpg(links: Links) -> None:
    await with_sqlalchemy_async(links, "asyncpg")  # calls


async def with_sqlalchemy_on_psycopg(links: Links) -> None:
    await with_sqlalchemy_async(links, "psycopg")  # calls


async def with_redis_async(links: Links) -> None:
    client = redis.asyncio.Redis.from_url(links.redis_url)
    await client.set("a", 1)  # asks
    async with client.pipeline() as pipe:
        pipe.get("a")
        await pipe.execute()  # asks
    await client.aclose()


def with_psycopg(links: Links) -> None:
    with psycopg.connect(links.postgres_url, autocommit=True) as connection:
        connection.execute(SQL)  # asks


def with_psycopg2(links: Links) -> None:
    connection = psycopg2.connect(links.postgres_url)
    with connection.cursor() as cursor:
        cursor.execute(SQL)  # asks
    connection.commit()  # asks
    connection.close()


def with_sqlalchemy_sync(links: Links, driver: str) -> None:
    engine = create_engine(sqlalchemy_url(links, driver))
    with engine.connect() as connection:
        select(connection)  # calls
        connection.commit()  # asks
    engine.dispose()


def select(connection: Connection) -> None:
    connection.execute(text(SQL))  # asks


def with_redis(links: Links) -> None:
    client = redis.Redis.from_url(links.redis_url)
    client.set("a", 1)  # asks
    client.close()


def through(outer: str, inner: str) -> str:
    """The line of the worker's function, and the line in the same file that asks."""
    return f"{outer} → :{inner.rpartition(':')[2]}"


def is_of_the_test(sql: str) -> bool:
    """Whether it is no request by which SQLAlchemy gets to know the server."""
    return SQL in sql or sql.startswith("COMMIT")


@pytest.mark.parametrize(
    "body", [with_asyncpg, with_psycopg_async, with_psycopg, with_psycopg2, with_redis]
)
def test_the_line_that_asks_is_told(servers: Servers, body: Body) -> None:
    assert callable(body)
    assert {place for _, place in asked_by(servers, body)} == set(marked(body))


def test_the_line_of_a_client_of_redis_with_tasks_is_told(servers: Servers) -> None:
    places = {place for _, place in asked_by(servers, with_redis_async)}
    assert places == set(marked(with_redis_async))


@pytest.mark.parametrize("body", [with_sqlalchemy_on_asyncpg, with_sqlalchemy_on_psycopg])
def test_the_line_is_told_through_sqlalchemys_greenlets(servers: Servers, body: Body) -> None:
    assert callable(body)
    asked = [place for sql, place in asked_by(servers, body) if is_of_the_test(sql)]
    (calls,) = marked(body, "# calls")
    assert asked == [through(calls, line) for line in marked(with_sqlalchemy_async)]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_the_line_is_told_through_synchronous_sqlalchemy(servers: Servers, driver: str) -> None:
    body = partial(with_sqlalchemy_sync, driver=driver)
    asked = [place for sql, place in asked_by(servers, body) if is_of_the_test(sql)]
    (calls,) = marked(with_sqlalchemy_sync, "# calls")
    assert asked == [through(calls, *marked(select)), *marked(with_sqlalchemy_sync)]


DATA_ACCESS = """
async def ask(connection, sql):
    return await connection.fetchval(sql)
"""


def tried_again(function: Callable[[Links], Awaitable[object]]) -> Callable[[Links], object]:
    @wraps(function)
    async def once(links: Links) -> None:
        await function(links)

    return once


def test_behind_the_workers_own_line_the_line_of_another_file_is_told(
    servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "data_access.py"
    file.write_text(DATA_ACCESS)
    spec = importlib.util.spec_from_file_location("data_access", file)
    assert spec is not None
    assert spec.loader is not None
    data_access = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data_access)

    async def body(links: Links) -> None:
        async with connected(links) as connection:
            await data_access.ask(connection, SQL)  # calls

    (calls,) = marked(body, "# calls")
    for worker in (body, tried_again(body)):
        assert [place for _, place in asked_by(servers, worker)] == [f"{calls} → {file}:3"]


class Purchase:
    """Something that can be called like a worker."""

    async def __call__(self, links: Links) -> None:
        async with connected(links) as connection:
            await self.ask(connection)  # calls

    async def ask(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await connection.fetchval(SQL)  # asks


def test_the_line_of_a_worker_that_is_an_object_is_told(servers: Servers) -> None:
    (calls,), (asks,) = marked(Purchase.__call__, "# calls"), marked(Purchase.ask)
    for worker in (Purchase(), Purchase().__call__):
        assert [place for _, place in asked_by(servers, worker)] == [through(calls, asks)]


@asynccontextmanager
async def connected(links: Links) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(links.postgres_url)
    yield connection
    await connection.close()


async def in_tasks_of_its_own(links: Links) -> None:
    async def ask(sql: str) -> None:
        async with connected(links) as connection:
            await connection.fetchval(sql)  # asks

    async with connected(links) as first, connected(links) as second:
        await asyncio.wait_for(first.fetchval("SELECT 10"), 60)  # 10
        await asyncio.gather(
            first.fetchval("SELECT 20"),  # not the line: it only makes the coroutine
            second.fetchval("SELECT 30"),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("SELECT 40"))
            group.create_task(first.fetchval("SELECT 50"))  # 50


def test_the_line_is_told_for_tasks_that_a_worker_begins(servers: Servers) -> None:
    places = dict(asked_by(servers, in_tasks_of_its_own))
    assert places["SELECT 10"] == marked(in_tasks_of_its_own, "# 10")[0]
    assert places["SELECT 40"] == marked(in_tasks_of_its_own)[0]
    assert places["SELECT 50"] == marked(in_tasks_of_its_own, "# 50")[0]
    assert places["SELECT 20"] == places["SELECT 30"] != ""


async def the_same_from_two_lines(links: Links) -> None:
    async with (
        connected(links) as first,
        connected(links) as second,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(first.fetchval(SQL))
        group.create_task(second.fetchval(SQL))


def test_no_line_is_told_where_two_could_be_meant(servers: Servers) -> None:
    (_, first), _ = asked_by(servers, the_same_from_two_lines)
    assert first == ""


def from_a_thread_of_its_own(links: Links) -> None:
    thread = threading.Thread(target=with_psycopg, args=(links,))
    thread.start()
    thread.join()


def test_no_line_is_told_for_a_thread_that_waits_for_another(servers: Servers) -> None:
    assert [place for _, place in asked_by(servers, from_a_thread_of_its_own)] == [""]
