"""A time limit of the worker's own side may fire at any moment at which its worker waits."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg
import pytest
from redis.asyncio import Redis

from contention.model.steps import Link
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.wire.servers import Links, Servers

from .programs import READ, WRITE, add_one_locked, database, found_by, two_accounts

LOCK = f"{READ} FOR UPDATE"


async def always(_links: Links) -> None:
    """An invariant that always holds."""


async def with_a_timeout(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        async with asyncio.timeout(5):
            amount = await connection.fetchval(LOCK)
        await connection.execute(WRITE, amount + 1)


async def with_wait_for(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        amount = await asyncio.wait_for(connection.fetchval(LOCK), 5)
        await connection.execute(WRITE, amount + 1)


async def with_a_limit_of_asyncpg(links: Links) -> None:
    connection = await asyncpg.connect(links.postgres_url, command_timeout=60)
    try:
        async with connection.transaction():
            amount = await connection.fetchval(LOCK)
            await connection.execute(WRITE, amount + 1)
    finally:
        await connection.close()


async def with_a_timeout_around_psycopg(links: Links) -> None:
    async with await psycopg.AsyncConnection.connect(links.postgres_url) as connection:
        async with asyncio.timeout(5):
            await connection.execute(LOCK)
        await connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")


@pytest.mark.parametrize(
    "worker",
    [with_a_timeout, with_wait_for, with_a_limit_of_asyncpg, with_a_timeout_around_psycopg],
)
async def test_a_limit_may_fire_while_its_worker_waits_for_a_lock(
    servers: Servers, worker: Callable[[Links], Awaitable[object]]
) -> None:
    found = await found_by(servers, worker, add_one_locked, invariant=always)
    assert found.verdict.kind is VerdictKind.ILLEGAL, found
    assert found.verdict.reason.startswith("w1 raised TimeoutError: ")
    assert found.counterexample is not None
    clock = [step for step in found.counterexample.steps if step.link is Link.CLOCK]
    assert [step.text.partition("about")[0] for step in clock] == [
        "a time limit of w1's own fires: "
    ]
    handled = await found_by(servers, worker, add_one_locked, may_raise=(TimeoutError,))
    assert handled.verdict.kind is VerdictKind.LEGAL, handled


async def test_a_limit_does_not_fire_while_nobody_keeps_its_worker_waiting(
    servers: Servers,
) -> None:
    found = await found_by(servers, with_a_timeout, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert found.schedules == 1


async def test_limits_that_shall_not_fire_do_so_only_when_nobody_else_goes_on(
    servers: Servers,
) -> None:
    found = await found_by(
        servers, with_a_timeout, add_one_locked, invariant=always, limits_fire=False
    )
    assert found.verdict.kind is VerdictKind.LEGAL, found


def both_within(seconds: float, first: int, second: int, ends: list[str]) -> "Worker":
    async def adds(links: Links) -> None:
        async with database(links) as connection:
            try:
                async with asyncio.timeout(seconds), connection.transaction():
                    for account in (first, second):
                        await connection.execute(
                            f"UPDATE accounts SET amount = amount * 2 + 1 WHERE id = {account}"
                        )
                ends.append("done")
            except TimeoutError:
                ends.append("late")
            except asyncpg.DeadlockDetectedError:
                ends.append("dead")

    return adds


Worker = Callable[[Links], Awaitable[None]]


@pytest.mark.parametrize("second", [(1, 2), (2, 1)])
async def test_no_end_is_lost_to_the_reduction(servers: Servers, second: tuple[int, int]) -> None:
    seen: list[set[object]] = []
    for is_reduced in (True, False):
        ends: list[str] = []
        found_ends: set[object] = set()

        async def looks(
            links: Links, ends: list[str] = ends, found_ends: set[object] = found_ends
        ) -> None:
            async with database(links) as connection:
                rows = await connection.fetch("SELECT amount FROM accounts ORDER BY id")
            found_ends.add((tuple(sorted(ends)), tuple(row["amount"] for row in rows)))
            ends.clear()

        found = await found_by(
            servers,
            both_within(5, 1, 2, ends),
            both_within(7, *second, ends),
            invariant=looks,
            scheduler=ExhaustiveScheduler(is_reduced=is_reduced),
        )
        assert found.verdict.kind is VerdictKind.LEGAL, found
        seen.append(found_ends)
    assert seen[0] == seen[1]
    assert any("late" in str(end) for end in seen[0])


async def push(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as redis:
        await redis.rpush("jobs", "tea")


@pytest.mark.parametrize(("server_seconds", "kind"), [(2, "LEGAL"), (0, "ILLEGAL"), (9, "ILLEGAL")])
async def test_of_a_limit_of_the_server_and_one_of_the_client_the_shorter_fires(
    servers: Servers, server_seconds: int, kind: str
) -> None:
    popped: set[object] = set()

    async def pop(links: Links) -> None:
        async with Redis.from_url(links.redis_url, socket_timeout=5) as redis:
            popped.add(str(await redis.blpop(["jobs"], timeout=server_seconds)))

    found = await found_by(servers, pop, push, invariant=always)
    assert found.verdict.kind is VerdictKind[kind], found
    assert ("None" in popped) == (server_seconds == 2)
    if kind == "ILLEGAL":
        assert "w1 raised TimeoutError: Timeout reading from " in found.verdict.reason


async def test_a_limit_around_everything_may_fire_before_a_shorter_one_of_the_server(
    servers: Servers,
) -> None:
    raised: set[str] = set()

    async def waits(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("SET lock_timeout = '2s'")
            try:
                async with asyncio.timeout(10), connection.transaction():
                    await connection.execute("SELECT 1 FROM orders")
                    await connection.execute(LOCK)
            except (TimeoutError, asyncpg.LockNotAvailableError) as error:
                raised.add(type(error).__name__)

    found = await found_by(servers, waits, add_one_locked, setup=two_accounts, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert raised == {"TimeoutError", "LockNotAvailableError"}
