"""Who asks in vain is left out only where nothing new can come of it, or that is told."""

import asyncio
import time

import psycopg
import pytest
import redis as redis_sync
from redis.asyncio import Redis

from contention.explore import Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body, process

from . import worker_programs as programs
from .programs import READ, WRITE, Program, accounts_hold, database, two_accounts


async def found_by(servers: Servers, *workers: Body, check: Program) -> Exploration:
    try:
        return await explore(*workers, setup=two_accounts, invariant=check, servers=servers)
    except NotGreenError as error:
        return error.exploration


async def anything(_links: Links) -> None:
    pass


def add_one_after_tries(tries: int) -> Program:
    """Under a lock that is tried to get so often, and otherwise without it."""

    async def work(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            for _ in range(tries):
                if await redis.set("gate", "taken", nx=True):
                    break
                await asyncio.sleep(0.1)
            amount = await connection.fetchval(READ)
            await connection.execute(WRITE, amount + 1)
            await redis.delete("gate")

    return work


@pytest.mark.parametrize("tries", [2, 4, 30])
async def test_who_gives_up_after_some_tries_is_found_however_many_they_are(
    servers: Servers, tries: int
) -> None:
    workers = (add_one_after_tries(tries), add_one_after_tries(tries))
    found = await found_by(servers, *workers, check=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "the accounts hold 1, not 2" in found.verdict.reason


@pytest.mark.parametrize("reads", [3, 6])
async def test_a_reader_that_looks_some_times_and_gives_up_has_both_ends(
    servers: Servers, reads: int
) -> None:
    ends = set()

    async def look(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            for _ in range(reads):
                if await redis.get("flag"):
                    ends.add("seen")
                    return
            ends.add("gave up")

    async def show(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.set("flag", "up")

    found = await found_by(servers, look, show, check=anything)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert ends == {"seen", "gave up"}


async def test_a_reader_that_gives_up_is_no_run_without_an_end(servers: Servers) -> None:
    async def look(links: Links) -> None:
        async with database(links) as connection:
            for _ in range(8):
                if await connection.fetchval("SELECT amount FROM accounts WHERE id = 1"):
                    return

    found = await found_by(servers, look, check=accounts_hold(0))
    assert found.verdict.kind is VerdictKind.LEGAL


REPEATED = {
    "an insert": "INSERT INTO orders VALUES ('tea')",
    "an update": "UPDATE accounts SET amount = amount + 1 WHERE id = 1",
}


@pytest.mark.parametrize("name", REPEATED)
async def test_what_changes_something_each_time_is_no_poll(servers: Servers, name: str) -> None:
    async def work(links: Links) -> None:
        async with database(links) as connection:
            for _ in range(120):
                await connection.execute(REPEATED[name])

    found = await found_by(servers, work, check=anything)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_command_that_writes_the_same_each_time_is_no_poll(servers: Servers) -> None:
    async def work(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            for _ in range(120):
                await redis.set("heartbeat", "on")

    found = await found_by(servers, work, check=anything)
    assert found.verdict.kind is VerdictKind.LEGAL


def add_one_after_tries_in_a_thread(links: Links) -> None:
    with (
        redis_sync.Redis.from_url(links.redis_url) as redis,
        psycopg.connect(links.postgres_url, autocommit=True) as connection,
    ):
        for _ in range(4):
            if redis.set("gate", "taken", nx=True):
                break
            time.sleep(0.01)
        row = connection.execute(READ).fetchone()
        assert row is not None
        connection.execute("UPDATE accounts SET amount = %s WHERE id = 1", [row[0] + 1])
        redis.delete("gate")


async def test_a_thread_that_gives_up_after_some_tries_is_found(servers: Servers) -> None:
    workers = (add_one_after_tries_in_a_thread, add_one_after_tries_in_a_thread)
    found = await found_by(servers, *workers, check=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "the accounts hold 1, not 2" in found.verdict.reason


def add_one_if_patient(links: Links) -> None:
    """Gives up in a minute, if anybody lets it wait for so long."""
    client = redis_sync.Redis.from_url(links.redis_url)
    with client.lock("accounts", sleep=0.01, blocking_timeout=60):
        programs.add_one(links)
    client.close()


@pytest.mark.parametrize(
    "worker",
    [
        add_one_if_patient,
        pytest.param(
            process(programs.add_one_under_a_redis_lock), marks=pytest.mark.prove, id="a process"
        ),
    ],
)
async def test_who_sleeps_by_a_clock_of_its_own_and_may_give_up_is_undecided(
    servers: Servers, worker: Body
) -> None:
    found = await found_by(servers, worker, worker, check=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert found.verdict.reason == (
        "left out: whether w2 gives up asking SET key accounts while others go on, as it sleeps by "
        "a clock of its own"
    )
