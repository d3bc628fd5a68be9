"""Workers that ask for nothing: who sleeps for ever, and who waits for a message."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from redis.asyncio import Redis

from contention.explore import Bounds
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import add_one, database, found_by, two_accounts

if TYPE_CHECKING:
    import asyncpg

IS_ORDERED = "SELECT EXISTS (SELECT FROM orders)"
BOUNDS = Bounds(silence_seconds=0.3)
MESSAGE = "it waits for a message (LISTEN or SUBSCRIBE)"


async def always(_links: Links) -> None:
    """An invariant that always holds."""


async def sleeps_for_ever(_links: Links) -> None:
    while True:  # noqa: ASYNC110 - this is what people write
        await asyncio.sleep(1)


async def orders(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        await connection.execute("INSERT INTO orders VALUES ('tea'); NOTIFY orders")


async def listens(connection: "asyncpg.Connection[asyncpg.Record]") -> asyncio.Event:
    has_come = asyncio.Event()
    await connection.add_listener("orders", lambda *_: has_come.set())
    return has_come


async def listens_then_looks(links: Links) -> None:
    async with database(links) as connection:
        has_come = await listens(connection)
        if not await connection.fetchval(IS_ORDERED):
            await asyncio.wait_for(has_come.wait(), 30)


async def looks_then_listens(links: Links) -> None:
    async with database(links) as connection:
        if not await connection.fetchval(IS_ORDERED):
            await asyncio.wait_for((await listens(connection)).wait(), 30)


async def listens_by_psycopg(links: Links) -> None:
    async with await psycopg.AsyncConnection.connect(links.postgres_url, autocommit=True) as one:
        await one.execute("LISTEN orders")
        async for _ in one.notifies():
            break


async def subscribes(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as client, client.pubsub() as messages:
        await messages.subscribe("orders")
        async for message in messages.listen():
            if message["type"] == "message":
                break


async def test_who_sleeps_again_and_again_is_not_waited_for(servers: Servers) -> None:
    found = await found_by(servers, add_one, sleeps_for_ever, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "w2 neither ends, waits nor asks; it has slept 10,000 times" in found.verdict.reason


async def test_who_looks_at_the_memory_as_it_sleeps_sees_what_others_change(
    servers: Servers,
) -> None:
    has_added: list[bool] = []

    async def adds(links: Links) -> None:
        await add_one(links)
        has_added.append(True)

    async def looks(_links: Links) -> None:
        while not has_added:  # noqa: ASYNC110 - this is what people write
            await asyncio.sleep(1)
        has_added.clear()

    found = await found_by(servers, adds, looks, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "what w2 could have asked while it was silent: it has slept" in found.verdict.reason


async def never_rests(_links: Links) -> None:
    while True:  # noqa: ASYNC110 - it shall keep the loop busy
        await asyncio.sleep(0)


@pytest.mark.parametrize("worker", [never_rests, asyncio.Event().wait])
async def test_the_bound_of_seconds_ends_a_search_in_the_midst_of_a_run(
    servers: Servers, worker: Callable[..., Awaitable[object]]
) -> None:
    async def works(_links: Links) -> None:
        await (worker(_links) if worker is never_rests else worker())

    bounds, began = Bounds(seconds=0.2, silence_seconds=60), time.monotonic()
    found = await found_by(servers, works, invariant=always, bounds=bounds)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "0.2 seconds ran out after 0 schedules, in the midst" in found.verdict.reason
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("worker", [listens_by_psycopg, subscribes])
async def test_who_waits_for_a_message_makes_the_verdict_unknown_at_once(
    servers: Servers, worker: Callable[[Links], Awaitable[object]]
) -> None:
    found = await found_by(servers, worker, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert MESSAGE in found.verdict.reason or "it has slept" in found.verdict.reason


async def test_a_time_limit_around_a_message_is_no_sleep(servers: Servers) -> None:
    found = await found_by(servers, listens_then_looks, orders, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    assert f"what w1 could have asked while it was silent: {MESSAGE}" in found.verdict.reason


@pytest.mark.prove
async def test_a_message_that_is_lost_is_found_by_the_time_limit(servers: Servers) -> None:
    bounds = Bounds(silence_seconds=10, shrinking=0)
    found = await found_by(servers, looks_then_listens, orders, invariant=always, bounds=bounds)
    assert found.verdict.kind is VerdictKind.ILLEGAL, found
    assert found.verdict.reason.startswith("w1 raised TimeoutError: ")


async def test_who_blocks_the_loop_is_told_before_its_drivers_time_limit(servers: Servers) -> None:
    async def asks(links: Links) -> None:
        redis.Redis.from_url(links.redis_url, socket_timeout=5).get("key")

    found = await found_by(servers, asks, setup=two_accounts, invariant=always)
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    assert found.verdict.reason.startswith("w1 has neither awaited nor ended for ")
