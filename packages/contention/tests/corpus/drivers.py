"""The drivers under which every program of the corpus runs, each used as its users use it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import redis
import redis.asyncio
import sqlalchemy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from contention.wire.servers import Links
from contention.wire.workers import Body

from .machine import Answer, Keys, Machine, T, Turn, Value, at_once, entered, refusal, settled

if TYPE_CHECKING:
    from typing import TypeAlias

    AsyncpgConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Program = Callable[[Machine], Awaitable[object]]
_PLACE = re.compile(r"\$(\d)")


class AsyncpgMachine(Machine):
    """asyncpg, without anything around it."""

    def __init__(self, url: str, keys: Keys, turn: Turn = at_once) -> None:
        super().__init__(keys, turn)
        self._url = url
        self._connection: AsyncpgConnection | None = None

    async def _opened(self) -> "AsyncpgConnection":
        self._connection = self._connection or await asyncpg.connect(self._url)
        return self._connection

    async def _run(self, sql: str, values: Sequence[Value]) -> Answer:
        connection = await self._opened()
        if _gives_rows(sql):
            rows = await connection.fetch(sql, *values)
            return Answer(rows, len(rows))
        status = (await connection.execute(sql, *values)).split()
        return Answer((), int(status[-1]) if status[-1].isdigit() else 0)

    @asynccontextmanager
    async def _in_transaction(self, isolation: str) -> AsyncIterator[None]:
        connection = await self._opened()
        level = isolation.lower().replace(" ", "_") or None
        async with connection.transaction(isolation=level):
            yield

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except asyncpg.PostgresError as error:
            raise refusal(error.sqlstate, str(error)) from error

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class PsycopgMachine(Machine):
    """psycopg: transactions by ``connection.transaction()`` on a connection in autocommit."""

    def __init__(self, url: str, keys: Keys, turn: Turn = at_once, *, is_async: bool) -> None:
        super().__init__(keys, turn)
        self._url = url
        self._is_async = is_async
        self._connection: psycopg.Connection | psycopg.AsyncConnection | None = None

    async def _opened(self) -> psycopg.Connection | psycopg.AsyncConnection:
        if self._connection is None and self._is_async:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        elif self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True)
        return self._connection

    async def _run(self, sql: str, values: Sequence[Value]) -> Answer:
        connection = await self._opened()
        named = {f"p{number}": value for number, value in enumerate(values, start=1)}
        query = _PLACE.sub(r"%(p\1)s", sql).encode()
        cursor = await _cursor(connection, query, named)
        rows = await settled(cursor.fetchall()) if cursor.description else []
        return Answer(rows, cursor.rowcount)

    @asynccontextmanager
    async def _in_transaction(self, isolation: str) -> AsyncIterator[None]:
        connection = await self._opened()
        if isolation:
            level = psycopg.IsolationLevel[isolation.replace(" ", "_")]
            await settled(connection.set_isolation_level(level))
        async with entered(connection.transaction()):
            yield

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise refusal(error.sqlstate, str(error)) from error

    async def _close(self) -> None:
        if self._connection is not None:
            await settled(self._connection.close())


class SqlalchemyMachine(Machine):
    """SQLAlchemy Core; what is not in a transaction is committed by itself."""

    def __init__(self, url: str, keys: Keys, turn: Turn = at_once, *, is_async: bool) -> None:
        super().__init__(keys, turn)
        self._engine: sqlalchemy.Engine | AsyncEngine = (
            create_async_engine(_url_for("asyncpg", url), poolclass=NullPool)
            if is_async
            else sqlalchemy.create_engine(_url_for("psycopg", url), poolclass=NullPool)
        )
        self._connection: sqlalchemy.Connection | AsyncConnection | None = None

    async def _opened(self) -> sqlalchemy.Connection | AsyncConnection:
        if self._connection is None:
            self._connection = (
                await self._engine.connect()
                if isinstance(self._engine, AsyncEngine)
                else self._engine.connect()
            )
        return self._connection

    async def _run(self, sql: str, values: Sequence[Value]) -> Answer:
        connection = await self._opened()
        named = {f"p{number}": value for number, value in enumerate(values, start=1)}
        statement = sqlalchemy.text(_PLACE.sub(r":p\1", sql))
        is_alone = not connection.in_transaction()
        try:
            result = await _result(connection, statement, named)
        except DBAPIError:
            if is_alone:
                await settled(connection.rollback())
            raise
        answer = Answer(result.fetchall() if result.returns_rows else [], result.rowcount)
        if is_alone:
            await settled(connection.commit())
        return answer

    @asynccontextmanager
    async def _in_transaction(self, isolation: str) -> AsyncIterator[None]:
        connection = await self._opened()
        if isolation:
            options = connection.execution_options(isolation_level=isolation)
            await settled(options)  # type: ignore[arg-type]
        begin = connection.begin_nested if connection.in_transaction() else connection.begin
        async with entered(begin()):
            yield

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise refusal(getattr(error.orig, "sqlstate", None), str(error.orig)) from error

    async def _close(self) -> None:
        if self._connection is not None:
            await settled(self._connection.close())
        await settled(self._engine.dispose())


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver, by the name that tests show.

    Attributes:
        connects: makes a worker's machine from the address of its PostgreSQL and its keys.
        is_async: whether a worker is a task; otherwise it is a thread.
    """

    name: str
    connects: Callable[[str, Keys], Machine]
    is_async: bool

    def worker(self, program: Program) -> Body:
        """A program as a worker that people could have written for this driver."""
        task = self.task(program)

        @wraps(program)
        def thread(links: Links) -> object:
            return _without_a_loop(task(links))

        return task if self.is_async else thread

    def task(self, program: Program) -> Callable[[Links], Coroutine[Any, Any, object]]:
        """A program as a function of its links."""

        @wraps(program)
        async def task(links: Links) -> object:
            return await on_machine(program, self.connects(links.postgres_url, self._keys(links)))

        return task

    def _keys(self, links: Links) -> Keys:
        kind = redis.asyncio.Redis if self.is_async else redis.Redis
        return Keys(kind.from_url(links.redis_url, decode_responses=True), at_once)


async def on_machine(program: Program, machine: Machine) -> object:
    """Run a program and leave nothing open."""
    try:
        return await program(machine)
    finally:
        await machine.close()


def _without_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run what awaits nothing but what is there already."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("something synchronous was waited for")


async def _cursor(
    connection: psycopg.Connection | psycopg.AsyncConnection,
    query: bytes,
    values: dict[str, Value],
) -> psycopg.Cursor | psycopg.AsyncCursor:
    if isinstance(connection, psycopg.AsyncConnection):
        return await connection.execute(query, values or None)
    return connection.execute(query, values or None)


async def _result(
    connection: sqlalchemy.Connection | AsyncConnection,
    statement: sqlalchemy.TextClause,
    values: dict[str, Value],
) -> sqlalchemy.CursorResult[Any]:
    if isinstance(connection, AsyncConnection):
        return await connection.execute(statement, values)
    return connection.execute(statement, values)


def _gives_rows(sql: str) -> bool:
    return sql.lstrip().startswith(("SELECT", "WITH")) or "RETURNING" in sql


def _url_for(driver: str, url: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(url).set(drivername=f"postgresql+{driver}")


DRIVERS = (
    Driver("asyncpg", AsyncpgMachine, is_async=True),
    Driver("psycopg", lambda url, keys: PsycopgMachine(url, keys, is_async=True), is_async=True),
    Driver(
        "psycopg-threads",
        lambda url, keys: PsycopgMachine(url, keys, is_async=False),
        is_async=False,
    ),
    Driver(
        "sqlalchemy-asyncpg",
        lambda url, keys: SqlalchemyMachine(url, keys, is_async=True),
        is_async=True,
    ),
    Driver(
        "sqlalchemy-psycopg-threads",
        lambda url, keys: SqlalchemyMachine(url, keys, is_async=False),
        is_async=False,
    ),
)
