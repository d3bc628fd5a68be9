"""A worker that asks for several things at the same time: every order of them is run."""

import asyncio
import re
from contextlib import suppress

import psycopg
from psycopg.generators import fetch_many
from redis.asyncio import Redis

from contention.explore import Bounds, Exploration, NotGreenError, explore
from contention.model.schedules import Choice, Schedule
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.schedulers.scheduler import Scheduler
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body

from .programs import Program, accounts_hold, add_one, add_one_locked, database, two_accounts

LEGAL, ILLEGAL, UNKNOWN = VerdictKind.LEGAL, VerdictKind.ILLEGAL, VerdictKind.UNKNOWN
UPDATE = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"


async def anything(_links: Links) -> None:
    pass


async def found_by(
    servers: Servers,
    *workers: Body,
    invariant: Program | None = anything,
    scheduler: Scheduler | None = None,
) -> Exploration:
    try:
        return await explore(
            *workers,
            setup=two_accounts,
            invariant=invariant,
            servers=servers,
            scheduler=scheduler,
            bounds=Bounds(shrinking=4),
        )
    except NotGreenError as error:
        return error.exploration


async def two_questions(links: Links) -> None:
    async with database(links) as first, database(links) as second:
        await asyncio.gather(first.fetchval("SELECT 1"), second.fetchval("SELECT 2"))


async def both_add(links: Links) -> None:
    await asyncio.gather(add_one(links), add_one(links))


async def both_add_locked(links: Links) -> None:
    await asyncio.gather(add_one_locked(links), add_one_locked(links))


async def test_two_questions_at_once_are_answered_in_either_order(servers: Servers) -> None:
    found = await found_by(servers, two_questions)
    assert (found.verdict.kind, found.schedules) == (LEGAL, 2)


async def test_a_race_of_a_worker_with_itself_is_found_and_replayed(servers: Servers) -> None:
    found = await found_by(servers, both_add, invariant=accounts_hold(2))
    assert found.verdict.kind is ILLEGAL
    assert found.counterexample is not None
    schedule = found.counterexample.schedule
    assert {Choice("w1"), Choice("w1/2")} <= set(schedule.choices)
    replay = ReplayScheduler(Schedule.from_token(schedule.token()))
    again = await found_by(servers, both_add, invariant=accounts_hold(2), scheduler=replay)
    assert again.verdict == found.verdict


async def test_a_worker_whose_own_requests_wait_for_one_another_is_legal(servers: Servers) -> None:
    found = await found_by(servers, both_add_locked, invariant=accounts_hold(2))
    assert found.verdict.kind is LEGAL


async def test_a_command_beside_a_statement_is_run_in_both_orders(servers: Servers) -> None:
    ends = set()

    async def ask(links: Links) -> None:
        answers = []

        async def in_redis() -> None:
            async with Redis.from_url(links.redis_url) as redis:
                await redis.set("tea", 1)
            answers.append("redis")

        async def in_postgres() -> None:
            async with database(links) as connection:
                await connection.execute(UPDATE)
            answers.append("postgres")

        await asyncio.gather(in_redis(), in_postgres())
        ends.add(tuple(answers))

    assert (await found_by(servers, ask)).verdict.kind is LEGAL
    assert ends == {("redis", "postgres"), ("postgres", "redis")}


async def ends_of(servers: Servers, *, is_reduced: bool) -> set[tuple[object, ...]]:
    """How a worker ends that locks a row beside another question, next to one that holds it."""
    ends: set[tuple[object, ...]] = set()
    seen: list[object] = []

    async def side_by_side(links: Links) -> None:
        seen.clear()

        async def lock() -> None:
            async with database(links) as connection:
                await connection.execute(UPDATE)
                seen.append("locked")

        async def look() -> None:
            async with database(links) as connection:
                seen.append(await connection.fetchval("SELECT amount FROM accounts WHERE id = 1"))

        await asyncio.gather(lock(), look())

    async def hold(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            await connection.execute("UPDATE accounts SET amount = 10 WHERE id = 1")

    async def note(_links: Links) -> None:
        ends.add(tuple(seen))

    scheduler = ExhaustiveScheduler(is_reduced=is_reduced)
    found = await found_by(servers, side_by_side, hold, invariant=note, scheduler=scheduler)
    assert found.verdict.kind is LEGAL
    return ends


async def test_no_end_is_lost_to_the_reduction(servers: Servers) -> None:
    assert await ends_of(servers, is_reduced=True) == await ends_of(servers, is_reduced=False)


async def test_whatever_a_worker_alone_may_do_is_an_order_one_after_another(
    servers: Servers,
) -> None:
    async def hurry(links: Links) -> None:
        async def put(value: int) -> None:
            async with database(links) as connection:
                await connection.execute("UPDATE accounts SET amount = $1 WHERE id = 1", value)

        await asyncio.gather(put(5), put(7))

    assert (await found_by(servers, hurry, invariant=None)).verdict.kind is LEGAL
    twice = await found_by(servers, hurry, add_one, invariant=None)
    assert twice.verdict.kind is ILLEGAL
    assert "no serial order ends like this" in twice.verdict.reason


async def test_what_is_let_go_unanswered_leaves_no_order_out(servers: Servers) -> None:
    ends = set()

    async def first_of_two(links: Links) -> None:
        async def ask(number: int) -> int:
            async with database(links) as connection:
                await connection.execute(UPDATE.replace("id = 1", f"id = {number}"))
            return number

        asking = [asyncio.ensure_future(ask(number)) for number in (1, 2)]
        done, left = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
        ends.add(frozenset(one.result() for one in done))

    assert (await found_by(servers, first_of_two, add_one_locked)).verdict.kind is LEGAL
    assert {frozenset({1}), frozenset({2})} <= ends


async def test_a_thread_that_asks_for_two_things_makes_no_verdict_legal(servers: Servers) -> None:
    def ask(links: Links) -> None:
        connections = [psycopg.connect(links.postgres_url, autocommit=True) for _ in range(2)]
        for connection in connections:
            connection.pgconn.send_query(b"SELECT 1")
        for connection in connections:
            connection.wait(fetch_many(connection.pgconn))
            connection.close()

    found = await found_by(servers, ask)
    # In some run it may have asked for the second thing too late to be seen with the first.
    assert found.verdict.kind is UNKNOWN
    assert re.search("what w1 asks at the same time|the same schedule", found.verdict.reason)


async def test_a_sleep_beside_a_request_makes_no_verdict_legal(servers: Servers) -> None:
    async def renews(links: Links) -> None:
        async with database(links) as first, database(links) as second:

            async def later() -> None:
                await asyncio.sleep(10)
                await second.fetchval("SELECT 2")

            await asyncio.gather(first.fetchval("SELECT 1"), later())

    found = await found_by(servers, renews)
    assert found.verdict.kind is UNKNOWN
    assert "what w1 does after a sleep while another of its tasks waits" in found.verdict.reason
