"""Unmodified drivers on real servers, through gates that let one request at a time pass.

A reply's end that were found too late would stop the driver, one found too early would leave a
message that nothing expects: either fails the test.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import redis
import redis.asyncio
import valkey
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from contention.model.footprints import Resource
from contention.wire.postgres_requests import Cancel, PostgresReply, RequestKind
from contention.wire.redis_requests import RedisRequest

from .strict_gate import StrictGate
from .wire_servers import (
    SCRAM_PASSWORD,
    SCRAM_ROLE,
    PostgresServer,
    Pump,
    ValkeyServer,
    pumping,
)


@pytest.fixture
async def postgres_pump(postgres: PostgresServer) -> AsyncIterator[Pump]:
    async with pumping(postgres) as pump:
        yield pump
    for gate in pump.gates:
        check(gate)


@pytest.fixture
async def valkey_pump(valkey: ValkeyServer) -> AsyncIterator[Pump]:
    async with pumping(valkey) as pump:
        yield pump
    for gate in pump.gates:
        check(gate)


def check(gate: StrictGate) -> None:
    """Every request that the driver waited for has its reply, and nothing else was said."""
    assert gate.framing.failure is None
    assert not gate.framing.is_awaiting_reply
    assert [one.number for one in gate.requests] == list(range(1, len(gate.requests) + 1))
    assert set(gate.replies) == {one.number for one in gate.requests}


def texts(gate: StrictGate) -> list[str]:
    return [
        one.text if isinstance(one, RedisRequest) else "; ".join(one.texts) for one in gate.requests
    ]


async def connect(
    pump: Pump, user: str = "postgres", password: str | None = None
) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host="127.0.0.1",
        port=pump.port,
        user=user,
        password=password,
        database="postgres",
        ssl="prefer",
    )


async def test_asyncpg_works_through_the_framing(postgres_pump: Pump) -> None:
    connection = await connect(postgres_pump)
    await connection.execute("CREATE TEMP TABLE t (id int PRIMARY KEY, name text)")
    async with connection.transaction():
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(1, "a"), (2, "b")])
        async with connection.transaction():
            await connection.fetch("SELECT * FROM t WHERE id = $1 FOR UPDATE", 1)
        rows = [row["id"] async for row in connection.cursor("SELECT id FROM t", prefetch=1)]
    assert rows == [1, 2]
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("INSERT INTO t VALUES ($1)", 1)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await connection.fetch("SELECT missing FROM t")
    await connection.copy_records_to_table("t", records=[(3, "c"), (4, None)])
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.copy_records_to_table("t", records=[(3, "c")])
    assert await connection.fetchval("SELECT count(*) FROM t") == 4
    assert len(await connection.fetch("SELECT repeat('x', 1000) FROM generate_series(1, 5000)"))
    await connection.close()
    kinds = {
        one.kind for one in postgres_pump.gates[0].requests if not isinstance(one, RedisRequest)
    }
    assert kinds == set(RequestKind) - {RequestKind.INTROSPECTION}


async def test_a_password_by_scram_passes_through(postgres_pump: Pump) -> None:
    connection = await connect(postgres_pump, SCRAM_ROLE, SCRAM_PASSWORD)
    assert await connection.fetchval("SELECT current_user") == SCRAM_ROLE
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(postgres_pump, SCRAM_ROLE, "wrong")


async def test_a_cancel_comes_as_a_connection_of_its_own(postgres_pump: Pump) -> None:
    connection = await connect(postgres_pump)
    with pytest.raises(asyncio.TimeoutError):
        await connection.fetch("SELECT pg_sleep(60)", timeout=0.1)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    cancels = [
        one for gate in postgres_pump.gates for one in gate.others if isinstance(one, Cancel)
    ]
    assert len(cancels) == 1


async def test_notifications_reach_a_connection_that_asks_for_nothing(postgres_pump: Pump) -> None:
    listener, sender = await connect(postgres_pump), await connect(postgres_pump)
    arrived = asyncio.Event()
    await listener.add_listener("news", lambda *_: arrived.set())
    await sender.execute("NOTIFY news, 'hello'")
    await asyncio.wait_for(arrived.wait(), 10)
    await listener.close()
    await sender.close()


async def test_a_deadlock_is_told_with_its_processes(postgres_pump: Pump) -> None:
    one, other = await connect(postgres_pump), await connect(postgres_pump)
    await one.execute("SET deadlock_timeout = '50ms'")
    await one.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
    await other.execute("BEGIN; SELECT pg_advisory_xact_lock(2)")
    waiting = asyncio.ensure_future(other.execute("SELECT pg_advisory_xact_lock(1)"))
    with contextlib.suppress(asyncpg.DeadlockDetectedError):
        await one.execute("SELECT pg_advisory_xact_lock(2)")
        await one.execute("ROLLBACK")
    await one.execute("ROLLBACK")
    await asyncio.wait([waiting])
    waiting.exception()
    await one.close()
    await other.close()
    errors = [
        reply.error
        for gate in postgres_pump.gates
        for reply in gate.replies.values()
        if isinstance(reply, PostgresReply) and reply.error
    ]
    assert [error.sqlstate for error in errors] == ["40P01"]
    assert "waits for ExclusiveLock on advisory lock" in errors[0].detail


async def test_sqlalchemy_asks_about_the_server_before_any_work(postgres_pump: Pump) -> None:
    engine = create_async_engine(
        f"postgresql+asyncpg://postgres@127.0.0.1:{postgres_pump.port}/postgres"
    )
    async with engine.begin() as connection:
        await connection.execute(text("SELECT :value"), {"value": "x"})
    await engine.dispose()
    kinds = [(one.kind, one.texts) for one in postgres_pump.gates[0].requests
             if not isinstance(one, RedisRequest)]  # fmt: skip
    data = [found for kind, found in kinds if kind is RequestKind.DATA]
    assert data == [("SELECT $1",)]


def use_redis(module: Callable[..., Any], port: int, protocol: int) -> None:
    client = module(port=port, protocol=protocol, db=4)
    client.set("a", 1, px=60_000)
    with client.pipeline() as pipe:
        pipe.watch("a")
        pipe.multi()
        pipe.incr("a")
        pipe.lpush("l", "x", "y")
        assert pipe.execute() == [2, 2]
    with client.pipeline(transaction=False) as pipe:
        pipe.get("a").hset("h", "f", "v").hgetall("h")
        assert len(pipe.execute()) == 3
    with client.lock("lock:a", timeout=10):
        assert client.blpop(["none", "l"], timeout=1)
    assert client.blpop(["none"], timeout=0.01) is None
    with client.pubsub() as channel:
        channel.subscribe("news", "more")
        channel.psubscribe("n*")
        client.publish("news", "hello")
        received = [channel.get_message(timeout=5) for _ in range(5)]
        assert [one["type"] for one in received if one][3:] == ["message", "pmessage"]
        channel.unsubscribe()
        channel.punsubscribe()
        assert [bool(channel.get_message(timeout=5)) for _ in range(3)] == [True] * 3
    with pytest.raises(Exception, match="unknown command"):
        client.execute_command("NOSUCH")
    client.flushdb()
    client.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("module", [redis.Redis, valkey.Valkey])
async def test_clients_of_redis_work_through_the_framing(
    valkey_pump: Pump, module: type, protocol: int
) -> None:
    await asyncio.to_thread(use_redis, module, valkey_pump.port, protocol)
    asked = [line for gate in valkey_pump.gates for line in texts(gate)]
    assert any(line.startswith("EVALSHA") for line in asked)
    locks = [
        one
        for gate in valkey_pump.gates
        for one in gate.requests
        if isinstance(one, RedisRequest) and one.name == "EVALSHA"
    ]
    assert (Resource("redis key lock:a in database 4"), "write") in locks[-1].footprint.touches


async def test_the_async_client_of_redis_works_through_the_framing(valkey_pump: Pump) -> None:
    client = redis.asyncio.Redis(port=valkey_pump.port)
    async with client.lock("lock:claim_calc:1:2025-01-15", timeout=120):
        await asyncio.gather(*(client.incr("n") for _ in range(5)))
    async with client.pipeline(transaction=True) as pipe:
        pipe.get("n")
        pipe.delete("n")
        assert await pipe.execute() == [b"5", 1]
    await client.aclose()
