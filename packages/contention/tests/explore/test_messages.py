"""Workers that ask for nothing: who sleeps for ever, and who waits for a message."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from redis.asyncio import Redis

from contention.explore import Bounds
from contention.model.steps import Link
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import add_one, database, found_by, two_accounts

if TYPE_CHECKING:
    import asyncpg

IS_ORDERED = "SELECT EXISTS (SELECT FROM orders)"
BOUNDS = Bounds(silence_seconds=0.3)
NOTIFIES = """
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('orders', ''); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell()
    """


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


async def listens_then_looks_for_ever(links: Links) -> None:
    async with database(links) as connection:
        has_come = await listens(connection)
        if not await connection.fetchval(IS_ORDERED):
            await has_come.wait()


async def listens_then_looks_by_psycopg(links: Links) -> None:
    async with await psycopg.AsyncConnection.connect(links.postgres_url, autocommit=True) as one:
        await one.execute("LISTEN orders")
        (is_ordered,) = await (await one.execute(IS_ORDERED)).fetchone() or (False,)
        if not is_ordered:
            async for _ in one.notifies():
                break


async def looks_then_listens_for_ever(links: Links) -> None:
    async with database(links) as connection:
        if not await connection.fetchval(IS_ORDERED):
            await (await listens(connection)).wait()


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
async def test_who_waits_for_a_message_that_nobody_sends_never_ends(
    servers: Servers, worker: Callable[[Links], Awaitable[object]]
) -> None:
    found = await found_by(servers, worker, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason.startswith("nobody can go on: w1 waits for a message (")
    assert found.verdict.reason.endswith(" orders), and nobody is left to send one")


@pytest.mark.parametrize(
    "worker", [listens_then_looks, listens_then_looks_by_psycopg, listens_then_looks_for_ever]
)
async def test_who_listens_before_looking_misses_nothing(
    servers: Servers, worker: Callable[[Links], Awaitable[object]]
) -> None:
    found = await found_by(servers, worker, orders, invariant=always, may_raise=(TimeoutError,))
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert found.schedules > 1


async def test_who_looks_before_listening_misses_a_message(servers: Servers) -> None:
    found = await found_by(servers, looks_then_listens_for_ever, orders, invariant=always)
    assert found.verdict.kind is VerdictKind.ILLEGAL, found
    assert found.verdict.reason == (
        'nobody can go on: w1 waits for a message (LISTEN "orders"), and nobody is left to send one'
    )


async def test_a_message_that_a_trigger_sends_wakes_who_listens(servers: Servers) -> None:
    async def inserts(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("INSERT INTO orders VALUES ('tea')")

    async def notifying(links: Links) -> None:
        await two_accounts(links)
        async with database(links) as connection:
            await connection.execute(NOTIFIES)

    for worker, kind in (
        (listens_then_looks_for_ever, VerdictKind.LEGAL),
        (looks_then_listens_for_ever, VerdictKind.ILLEGAL),
    ):
        found = await found_by(servers, worker, inserts, setup=notifying, invariant=always)
        assert found.verdict.kind is kind, found


async def test_the_reduction_keeps_every_order_of_messages_that_no_text_shows(
    servers: Servers,
) -> None:
    heard: set[tuple[str, ...]] = set()

    async def notifying(links: Links) -> None:
        await two_accounts(links)
        async with database(links) as connection:
            await connection.execute(NOTIFIES.replace("INSERT ON orders", "UPDATE ON accounts"))

    async def listens_to_two(links: Links) -> None:
        seen: list[str] = []
        async with database(links) as connection:
            has_come = asyncio.Event()

            def hears(_connection: object, by: int, _channel: str, _what: object) -> None:
                seen.append(names[by])
                has_come.set()

            await connection.add_listener("orders", hears)
            with suppress(TimeoutError):
                async with asyncio.timeout(9):
                    while len(seen) < len(names):
                        has_come.clear()
                        await has_come.wait()
            heard.add(tuple(seen))

    names: dict[int, str] = {}

    def adds_to(account: int) -> Callable[[Links], Awaitable[object]]:
        async def adds(links: Links) -> None:
            async with database(links) as connection:
                names[connection.get_server_pid()] = str(account)
                async with connection.transaction():
                    await connection.execute(f"UPDATE accounts SET amount = 1 WHERE id = {account}")

        return adds

    found = await found_by(
        servers, listens_to_two, adds_to(1), adds_to(2), setup=notifying, invariant=always
    )
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert {("1", "2"), ("2", "1"), ("1",), ("2",), ()} <= heard


async def test_the_reduction_keeps_every_order_of_the_events_of_keys(servers: Servers) -> None:
    heard: set[tuple[str, ...]] = set()

    async def listens_to_keys(links: Links) -> None:
        seen: list[str] = []
        async with (
            Redis.from_url(links.redis_url, decode_responses=True) as client,
            client.pubsub() as messages,
        ):
            await messages.psubscribe("__keyspace@*__:*")
            await messages.get_message(timeout=None)
            with suppress(TimeoutError):
                async with asyncio.timeout(9):
                    while len(seen) < 2:
                        told = await messages.get_message(timeout=None)
                        seen.append(str(told and told["channel"])[-1])
            heard.add(tuple(seen))

    def sets(key: str) -> Callable[[Links], Awaitable[object]]:
        async def sets_one(links: Links) -> None:
            async with Redis.from_url(links.redis_url) as client:
                await client.set(key, 1)

        return sets_one

    async with Redis.from_url(servers.redis.url) as admin:
        await admin.config_set("notify-keyspace-events", "KA")
        try:
            found = await found_by(servers, listens_to_keys, sets("a"), sets("b"), invariant=always)
        finally:
            await admin.config_set("notify-keyspace-events", "")
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert {("a", "b"), ("b", "a"), ("a",), ("b",), ()} <= heard


async def test_who_publishes_lets_go_on_who_has_subscribed(servers: Servers) -> None:
    async def sees(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as client, client.pubsub() as messages:
            await messages.subscribe("orders")
            await messages.get_message(timeout=None)  # that it has
            if not await client.get("order"):
                async for message in messages.listen():
                    if message["type"] == "message":
                        break

    async def sees_too_early(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as client, client.pubsub() as messages:
            await messages.subscribe("orders")  # redis-py does not wait for the answer
            if not await client.get("order"):
                async for message in messages.listen():
                    if message["type"] == "message":
                        break

    async def publishes(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as client:
            await client.set("order", "tea")
            await client.publish("orders", "tea")

    found = await found_by(servers, sees, publishes, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL, found
    found = await found_by(servers, sees_too_early, publishes, invariant=always)
    assert found.verdict.kind is VerdictKind.ILLEGAL, found
    assert "w1 waits for a message (SUBSCRIBE orders)" in found.verdict.reason


async def test_who_looks_for_messages_again_and_again_is_followed(servers: Servers) -> None:
    # Without redis-py's limit for closing a connection, which time that passes may end.
    def opened(links: Links) -> Redis:
        return Redis.from_url(links.redis_url, socket_connect_timeout=None)

    async def looks(links: Links) -> None:
        async with opened(links) as client, client.pubsub() as messages:
            await messages.subscribe("orders")
            while not await client.get("order"):
                await messages.get_message(timeout=1)

    async def publishes(links: Links) -> None:
        async with opened(links) as client:
            await client.set("order", "tea")
            await client.publish("orders", "tea")

    found = await found_by(servers, looks, publishes, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL, found


async def test_who_gives_up_after_several_rounds_is_told_as_left_out(servers: Servers) -> None:
    async def looks_three_times(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as client, client.pubsub() as messages:
            await messages.subscribe("orders")
            await messages.get_message(timeout=None)
            for _ in range(3):
                await messages.get_message(timeout=1)
            await client.get("order")

    found = await found_by(servers, looks_three_times, orders, invariant=always)
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    assert "what w1 does if it gives up waiting earlier, after some rounds" in found.verdict.reason


async def test_who_waits_for_something_else_as_well_is_not_taken_to_wait_for_a_message(
    servers: Servers,
) -> None:
    async def waits_for_a_stranger(links: Links) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            async with database(links) as connection:
                await listens(connection)
                ours.setblocking(False)  # noqa: FBT003 - its name says it
                await asyncio.get_running_loop().sock_recv(ours, 1)

    found = await found_by(servers, waits_for_a_stranger, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    assert "w1 neither ends, waits nor asks" in found.verdict.reason


async def test_a_time_limit_around_a_message_may_fire_at_any_moment(servers: Servers) -> None:
    found = await found_by(servers, listens_then_looks, orders, invariant=always, bounds=BOUNDS)
    assert found.verdict.kind is VerdictKind.ILLEGAL, found
    assert found.verdict.reason.startswith("w1 raised TimeoutError: ")
    assert found.counterexample is not None
    told = [step.text for step in found.counterexample.steps if step.link is Link.CLOCK]
    assert told == ["a time limit of w1's own fires: about 30 s without a message"]


async def test_who_blocks_the_loop_is_told_before_its_drivers_time_limit(servers: Servers) -> None:
    async def asks(links: Links) -> None:
        redis.Redis.from_url(links.redis_url, socket_timeout=5).get("key")

    found = await found_by(servers, asks, setup=two_accounts, invariant=always)
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    assert found.verdict.reason.startswith("w1 has neither awaited nor ended for ")
