"""psycopg and psycopg2, alone and under SQLAlchemy, on real servers through strict gates."""

import asyncio
import io
from collections.abc import AsyncIterator

import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from contention.wire.postgres_requests import RequestKind
from contention.wire.redis_requests import RedisRequest

from .test_live_drivers import check
from .wire_servers import SCRAM_PASSWORD, SCRAM_ROLE, PostgresServer, Pump, pumping

BIG_BYTES = 3_000_000


@pytest.fixture
async def pump(postgres: PostgresServer) -> AsyncIterator[Pump]:
    async with pumping(postgres) as pump:
        yield pump
    for gate in pump.gates:
        check(gate)


def address(pump: Pump, user: str = "postgres") -> str:
    return f"host=127.0.0.1 port={pump.port} user={user} dbname=postgres"


def url(pump: Pump, driver: str) -> str:
    return f"postgresql+{driver}://postgres@127.0.0.1:{pump.port}/postgres"


def data_of(pump: Pump) -> list[tuple[str, ...]]:
    """What the gates took for the user's own work."""
    return [
        one.texts
        for gate in pump.gates
        for one in gate.requests
        if not isinstance(one, RedisRequest) and one.kind is RequestKind.DATA
    ]


def use_rows_and_copies(at: str) -> None:
    with psycopg.connect(at) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (id int PRIMARY KEY, n text)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, str(i)) for i in range(500)])
        with cursor.copy("COPY t FROM stdin") as copy:
            for number in range(500, 2_000):
                copy.write_row((number, "x" * 50))
        with cursor.copy("COPY t TO stdout") as copy:
            assert len(list(copy.rows())) == 2_000
        with cursor.copy("COPY t (id) FROM stdin (FORMAT binary)") as copy:
            copy.set_types(["int4"])
            copy.write_row((9_000,))
        with connection.cursor("named") as named:
            named.execute("SELECT * FROM t")
            assert len(named.fetchall()) == 2_001
        assert cursor.execute("SELECT length(%s::bytea)", (b"\0" * BIG_BYTES,)).fetchone() == (
            BIG_BYTES,
        )


async def test_psycopg_moves_rows_and_copies(pump: Pump) -> None:
    await asyncio.to_thread(use_rows_and_copies, address(pump))


def use_errors_and_savepoints(at: str) -> None:
    with psycopg.connect(at) as connection:
        connection.execute("CREATE TEMP TABLE t (id int PRIMARY KEY)")
        connection.commit()
        for wrong in ("SELECT 1/0", "SELEC", "SELECT * FROM no_such_table"):
            with pytest.raises(psycopg.Error):
                connection.execute(wrong)
            connection.rollback()
        for _ in range(8):
            connection.execute("SELECT * FROM t WHERE id = %s", (1,), prepare=True)
        with connection.transaction(), connection.transaction():
            connection.execute("SELECT 1")


async def test_psycopg_recovers_from_errors(pump: Pump) -> None:
    await asyncio.to_thread(use_errors_and_savepoints, address(pump))


def pipeline_with_an_error(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with connection.pipeline() as pipe:
        for sql in ("SELECT 1", "SELECT 1/0", "SELECT 2"):
            connection.execute(sql)
        pipe.sync()


def use_pipelines(at: str) -> None:
    with psycopg.connect(at) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline_with_an_error(connection)
        connection.rollback()
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (i,)) for i in range(100)]
        assert [cursor.fetchone() for cursor in cursors] == [(i,) for i in range(100)]


async def test_psycopg_pipelines_requests_that_fail_and_that_do_not(pump: Pump) -> None:
    await asyncio.to_thread(use_pipelines, address(pump))


async def test_psycopg_with_tasks_pipelines_and_is_notified(pump: Pump) -> None:
    connection = await psycopg.AsyncConnection.connect(address(pump), autocommit=True)
    async with connection:
        async with connection.pipeline():
            cursor = await connection.execute("SELECT 1")
            assert await cursor.fetchone() == (1,)
            await connection.execute("SELECT 2")
        await connection.execute("LISTEN news")
        await connection.execute("NOTIFY news, 'hello'")
        told = [one.payload async for one in connection.notifies(timeout=5, stop_after=1)]
    assert told == ["hello"]


async def asleep_in(server: PostgresServer) -> None:
    """Wait until a backend of the server sleeps: a cancel that comes earlier may be lost."""
    sleeping = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    async with await psycopg.AsyncConnection.connect(server.uri, autocommit=True) as looking:
        for _ in range(10_000):
            if await (await looking.execute(sleeping)).fetchall():
                return
    raise AssertionError("nobody sleeps")


async def test_psycopg_with_tasks_cancels_by_a_connection_of_its_own(
    postgres: PostgresServer, pump: Pump
) -> None:
    connection = await psycopg.AsyncConnection.connect(address(pump), autocommit=True)
    async with connection:
        asleep = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asleep_in(postgres)
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asleep
        await connection.execute("SELECT 1")


@pytest.mark.parametrize("module", [psycopg, psycopg2])
async def test_a_password_by_scram_passes_through_libpq(pump: Pump, module: object) -> None:
    def log_in(password: str) -> None:
        at = f"{address(pump, SCRAM_ROLE)} password={password}"
        module.connect(at).close()  # type: ignore[attr-defined]

    await asyncio.to_thread(log_in, SCRAM_PASSWORD)
    with pytest.raises(Exception, match="password authentication failed"):
        await asyncio.to_thread(log_in, "wrong")


def use_psycopg2(at: str) -> None:
    connection = psycopg2.connect(at)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (id int)")
        rows = "\n".join(map(str, range(20_000)))
        cursor.copy_expert("COPY t FROM stdin", io.StringIO(rows))
        cursor.execute("SELECT * FROM t WHERE id >= %s", (0,))
        assert len(cursor.fetchall()) == 20_000
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY t FROM stdin", io.StringIO("x\n"))
    connection.rollback()
    with connection.cursor("named") as named:
        named.execute("SELECT generate_series(1, 5000)")
        assert len(named.fetchall()) == 5_000
    connection.close()


async def test_psycopg2_works_through_the_framing(pump: Pump) -> None:
    await asyncio.to_thread(use_psycopg2, address(pump))


def use_sqlalchemy(at: str) -> None:
    engine = create_engine(at)
    with engine.begin() as connection:
        connection.execute(text("CREATE TEMP TABLE t (id int PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (:id)"), [{"id": i} for i in range(50)])
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO t VALUES (:id)"), {"id": 1})
        assert connection.scalar(text("SELECT count(*) FROM t")) == 50
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
async def test_sqlalchemy_works_on_a_synchronous_driver(pump: Pump, driver: str) -> None:
    await asyncio.to_thread(use_sqlalchemy, url(pump, driver))
    assert not [texts for texts in data_of(pump) if "pg_catalog" in " ".join(texts)]


async def test_sqlalchemy_works_on_psycopg_with_tasks(pump: Pump) -> None:
    engine = create_async_engine(url(pump, "psycopg"))
    async with engine.begin() as connection:
        found = await connection.execute(text("SELECT :value ::text"), {"value": "x"})
        assert found.scalar_one() == "x"
    await engine.dispose()
    asked = [" ".join(texts) for texts in data_of(pump)]
    assert [sql for sql in asked if "pg_catalog" in sql] == []
