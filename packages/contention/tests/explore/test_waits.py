"""Who blocks whom is observed and told; deadlocks and runs without an end are known for certain."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import psycopg
import pytest
from redis.asyncio import Redis

from contention.explore import Bounds, Exploration
from contention.model.schedules import Choice, Schedule
from contention.model.steps import Blocker, Effect, Step
from contention.model.verdicts import VerdictKind
from contention.schedulers.replay import ReplayScheduler
from contention.search.start import RUN
from contention.wire.own_connections import connect_postgres
from contention.wire.servers import Links, Servers

from . import programs
from .programs import (
    Program,
    add_one_locked,
    add_to_both,
    database,
    order_under_a_unique_key,
    redis_lock,
)


class Repeated:
    """The same schedule, again and again."""

    is_complete = False
    cut_reason = "every other schedule"

    def __init__(self, names: Sequence[str], times: int) -> None:
        self._names = names
        self._left = times
        self._position = 0

    def start(self) -> bool:
        self._left, self._position = self._left - 1, 0
        return self._left >= 0

    def choose(self, options: Sequence[str]) -> str:
        name = next(iter(self._names[self._position :]), options[0])
        self._position += 1
        assert name in options
        return name

    def executed(self, effect: Effect) -> None:
        pass


async def never(_links: Links) -> bool:
    return False


async def always(_links: Links) -> None:
    pass


def in_order(*names: str) -> ReplayScheduler:
    return ReplayScheduler(Schedule(tuple(map(Choice, names))))


async def found_by(servers: Servers, *workers: Program, **options: Any) -> Exploration:  # noqa: ANN401 - as `explore` takes them
    bounds = Bounds(silence_seconds=1.0)
    return await programs.found_by(
        servers, *workers, **{"invariant": always, "bounds": bounds, **options}
    )


def steps_of(found: Exploration) -> tuple[Step, ...]:
    assert found.counterexample is not None, found
    return found.counterexample.steps


async def test_a_blocked_step_says_who_holds_what_since_when(servers: Servers) -> None:
    found = await found_by(
        servers,
        add_one_locked,
        add_one_locked,
        scheduler=in_order("w1", "w2", "w1", "w1"),
        invariant=never,
    )
    steps = steps_of(found)
    assert steps[1].blocked_by == (Blocker("w1", "row of accounts", since_step=1),)
    assert str(steps[1].blocked_by[0]) == "w1 (row of accounts, held since step 1)"
    answered = next(step for step in steps if step.answers == 2)
    assert (answered.actor, answered.result) == ("w2", "(1)")
    assert answered.touches == ("accounts",)


async def test_of_two_rows_the_one_that_is_wanted_is_told(servers: Servers) -> None:
    workers = (add_to_both(1, 2), add_to_both(2, 2))
    found = await found_by(servers, *workers, scheduler=in_order("w1", "w1", "w2"), invariant=never)
    assert steps_of(found)[2].blocked_by == (Blocker("w1", "row of accounts", since_step=2),)


async def test_an_insert_waits_for_a_unique_key(servers: Servers) -> None:
    found = await found_by(
        servers,
        order_under_a_unique_key,
        order_under_a_unique_key,
        scheduler=in_order("w1", "w2", "w1", "w2"),
        invariant=never,
        may_raise=(asyncpg.UniqueViolationError,),
    )
    assert steps_of(found)[3].blocked_by == (Blocker("w1", "unique key of unique_orders", 3),)


def advisory(first: int, second: int) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            for key in (first, second):
                await connection.execute("SELECT pg_advisory_xact_lock($1)", key)

    return work


async def test_advisory_locks_are_told_by_their_keys(servers: Servers) -> None:
    found = await found_by(
        servers,
        advisory(7, 9),
        advisory(9, 9),
        scheduler=in_order("w1", "w1", "w2"),
        invariant=never,
    )
    assert steps_of(found)[2].blocked_by == (Blocker("w1", "advisory lock 9", since_step=2),)


async def test_a_deadlock_is_told_as_its_circle(servers: Servers) -> None:
    workers = (add_to_both(1, 2), add_to_both(2, 1))
    found = await found_by(servers, *workers, scheduler=in_order("w1", "w2", "w1", "w2"))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason.endswith(
        "deadlock: w2 waits for w1 (row of accounts, held since step 1), "
        "w1 waits for w2 (row of accounts, held since step 2)"
    )
    victim = [step for step in steps_of(found) if step.actor == "w2"][1:3]
    assert victim[0].blocked_by == (Blocker("w1", "row of accounts", since_step=1),)
    assert victim[1].answers == victim[0].number
    assert victim[1].result == "ERROR 40P01: deadlock detected"
    assert victim[0].source
    assert victim[0].source == victim[1].source


async def test_a_deadlock_of_advisory_locks_names_them(servers: Servers) -> None:
    found = await found_by(
        servers, advisory(7, 9), advisory(9, 7), scheduler=in_order("w1", "w2", "w1", "w2")
    )
    assert "w2 waits for w1 (advisory lock 7, held since step 1)" in found.verdict.reason
    assert "w1 waits for w2 (advisory lock 9, held since step 2)" in found.verdict.reason


def add_to_each(first: int, second: int, amount: int) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            for account in (first, second):
                await connection.execute(
                    "UPDATE accounts SET amount = amount + $1 WHERE id = $2", amount, account
                )

    return work


@pytest.mark.parametrize(
    ("order", "survivor"), [(("w1", "w2", "w1", "w2"), 1), (("w1", "w2", "w2", "w1"), 2)]
)
async def test_the_victim_is_who_closes_the_circle_fifty_times_of_fifty(
    servers: Servers, order: tuple[str, ...], survivor: int
) -> None:
    amounts: list[int] = []

    async def note(links: Links) -> None:
        async with database(links) as connection:
            amounts.append(await connection.fetchval("SELECT sum(amount) FROM accounts"))

    await found_by(
        servers,
        add_to_each(1, 2, 1),
        add_to_each(2, 1, 2),
        scheduler=Repeated(order, 50),
        invariant=note,
        may_raise=(asyncpg.DeadlockDetectedError,),
    )
    assert amounts == [2 * survivor] * 50


async def test_where_the_server_looks_late_the_circle_itself_is_told(servers: Servers) -> None:
    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("ALTER ROLE postgres SET deadlock_timeout = '1min'")
    try:
        workers = (add_to_both(1, 2), add_to_both(2, 1))
        found = await found_by(servers, *workers, scheduler=in_order("w1", "w2", "w1", "w2"))
    finally:
        await admin.execute("ALTER ROLE postgres RESET deadlock_timeout")
        await admin.close()
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason == (
        "deadlock: w1 waits for w2 (row of accounts, held since step 2), "
        "w2 waits for w1 (row of accounts, held since step 1)"
    )
    assert found.seconds < 30


async def test_whoever_is_blocked_by_a_stranger_is_undecided(servers: Servers) -> None:
    postgres = servers.postgres
    strangers = []

    async def work(links: Links) -> None:
        stranger = psycopg.connect(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            dbname=RUN,
            application_name="nightly job",
        )
        strangers.append(stranger)
        stranger.execute("SELECT FROM accounts FOR UPDATE")
        await add_one_locked(links)

    found = await found_by(servers, work)
    for stranger in strangers:
        stranger.close()
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "w1 waits for backend" in found.verdict.reason
    assert "(nightly job: SELECT FROM accounts FOR UPDATE)" in found.verdict.reason
    assert "nobody of the test" in found.verdict.reason


async def row_then_lock(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        await connection.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
        async with redis_lock(links, "gate"):
            pass


async def lock_then_row(links: Links) -> None:
    async with (
        redis_lock(links, "gate"),
        database(links) as connection,
        connection.transaction(),
    ):
        await connection.execute("UPDATE accounts SET amount = 2 WHERE id = 1")


async def test_a_circle_through_a_lock_in_redis_is_a_run_without_an_end(servers: Servers) -> None:
    found = await found_by(servers, row_then_lock, lock_then_row)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason.startswith("nobody can go on: w1 polls in vain with SET gate ")
    assert "which w2 wrote in step 2" in found.verdict.reason
    assert "w2 waits for w1 (row of accounts, held since step 1)" in found.verdict.reason


async def test_a_transaction_left_open_blocks_the_others_for_ever(servers: Servers) -> None:
    kept = []

    async def leave_open(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        kept.append(connection)
        await connection.execute("BEGIN")
        await connection.execute("UPDATE accounts SET amount = 1 WHERE id = 1")

    found = await found_by(servers, leave_open, add_one_locked, scheduler=in_order("w1", "w2"))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason == (
        "nobody can go on: w2 waits for w1 (row of accounts, held since step 1)"
    )


async def test_a_wait_that_the_server_will_end_is_waited_for(servers: Servers) -> None:
    kept = []

    async def leave_open(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        kept.append(connection)
        await connection.execute("BEGIN")
        await connection.execute("UPDATE accounts SET amount = 1 WHERE id = 1")

    async def hurry(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("SET lock_timeout = '50ms'")
            await connection.execute("UPDATE accounts SET amount = 2 WHERE id = 1")

    found = await found_by(servers, leave_open, hurry, scheduler=in_order("w1", "w2"))
    assert "w2 raised LockNotAvailableError" in found.verdict.reason


async def test_whoever_waits_for_a_list_goes_on_when_somebody_pushes(servers: Servers) -> None:
    async def pop(links: Links) -> object:
        async with Redis.from_url(links.redis_url, socket_timeout=None) as redis:
            return await redis.blpop(["jobs"])

    async def push(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.rpush("jobs", "tea")

    found = await found_by(servers, pop, push)
    assert found.verdict.kind is VerdictKind.LEGAL
    waiting = await found_by(servers, pop, push, scheduler=in_order("w1", "w2"), invariant=never)
    steps = steps_of(waiting)
    assert steps[0].blocked_by == (Blocker("nobody yet", "waits for key jobs"),)
    assert {step.actor: step.answers for step in steps[1:]} == {"w2": None, "w1": 1}
    alone = await found_by(servers, pop)
    assert alone.verdict.kind is VerdictKind.ILLEGAL
    assert "w1 waits for nobody yet (waits for key jobs)" in alone.verdict.reason


async def test_a_time_out_of_a_blocking_command_is_waited_for(servers: Servers) -> None:
    popped = []

    async def pop(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            popped.append(await redis.blpop(["jobs"], timeout=0.05))

    found = await found_by(servers, pop)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert set(popped) == {None}


async def test_whoever_gives_up_waiting_for_a_lock_and_goes_on_regardless_is_found(
    servers: Servers,
) -> None:
    async def impatient(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            lock = redis.lock("accounts", blocking_timeout=600)
            await lock.acquire()
            amount = await connection.fetchval("SELECT amount FROM accounts WHERE id = 1")
            await connection.execute("UPDATE accounts SET amount = $1 WHERE id = 1", amount + 1)
            if await lock.owned():
                await lock.release()

    async def both_counted(links: Links) -> bool:
        async with database(links) as connection:
            amount = await connection.fetchval("SELECT amount FROM accounts WHERE id = 1")
        return bool(amount == 2)

    found = await found_by(servers, impatient, impatient, invariant=both_counted)
    assert found.verdict.kind is VerdictKind.ILLEGAL


async def test_a_time_limit_around_a_poll_is_found_to_run_out(servers: Servers) -> None:
    async def limited(links: Links) -> None:
        async with asyncio.timeout(600), redis_lock(links, "gate"):
            pass

    found = await found_by(servers, limited, limited)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "raised TimeoutError" in found.verdict.reason


class OwnerLast(Repeated):
    """Lets the first worker take the lock, and then everybody else as long as they are offered."""

    def choose(self, options: Sequence[str]) -> str:
        self._position += 1
        others = [name for name in options if name != "w1"]
        return "w1" if self._position == 1 or not others else others[self._position % len(others)]


async def test_those_who_poll_by_a_script_do_not_wake_one_another_for_ever(
    servers: Servers,
) -> None:
    polls = 0

    async def take(links: Links) -> None:
        nonlocal polls
        async with Redis.from_url(links.redis_url) as redis:
            while not await redis.eval("return redis.call('setnx', KEYS[1], 1)", 1, "gate"):
                polls += 1
                await asyncio.sleep(1)
            await redis.delete("gate")

    await found_by(servers, take, take, take, scheduler=OwnerLast((), 1))
    assert 0 < polls < 600
