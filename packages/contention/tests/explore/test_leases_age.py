"""A lease may run out at any moment, as a step; what stands beneath it decides what that does."""

import asyncio

import asyncpg
import pytest
from redis.asyncio import Redis

from contention.explore import explore
from contention.model.schedules import Choice, Schedule
from contention.model.steps import Link
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.wire.servers import Links, Servers

from .programs import (
    READ,
    WRITE,
    Program,
    accounts_hold,
    add_one,
    add_one_locked,
    add_one_under_a_redis_lock,
    database,
    found_by,
    one_order,
    two_accounts,
)

LEASE_SECONDS = 60.0


async def always(_links: Links) -> None:
    pass


async def test_a_lease_that_is_all_there_is_does_not_protect(servers: Servers) -> None:
    workers = [add_one_under_a_redis_lock(LEASE_SECONDS)] * 2
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.counterexample is not None
    aged = [step for step in found.counterexample.steps if step.link is Link.CLOCK]
    assert [(step.actor, step.result) for step in aged] == [("accounts", "gone: accounts")]
    assert aged[0].text == "the time-out of accounts fires: 60 s pass"


@pytest.mark.prove
async def test_it_protects_as_long_as_nobody_lets_it_run_out(servers: Servers) -> None:
    workers = [add_one_under_a_redis_lock(LEASE_SECONDS)] * 2
    found = await found_by(servers, *workers, invariant=accounts_hold(2), leases_age=False)
    assert found.verdict.kind is VerdictKind.LEGAL


def add_one_if_the_lease_is_free(add: Program) -> Program:
    async def work(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            if await redis.set("lease", "taken", nx=True, ex=60):
                await add(links)
                await redis.append("done", "1")

    return work


async def every_addition_is_kept(links: Links) -> bool:
    async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
        return bool(await connection.fetchval(READ) == await redis.strlen("done"))


async def test_a_row_lock_beneath_the_lease_protects(servers: Servers) -> None:
    workers = [add_one_if_the_lease_is_free(add_one_locked)] * 2
    found = await found_by(servers, *workers, invariant=every_addition_is_kept)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_without_the_row_lock_an_addition_is_lost(servers: Servers) -> None:
    workers = [add_one_if_the_lease_is_free(add_one)] * 2
    found = await found_by(servers, *workers, invariant=every_addition_is_kept)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    kept = await found_by(servers, *workers, invariant=every_addition_is_kept, leases_age=False)
    assert [note for note in kept.notes if note.startswith("leases_age=False")]
    assert kept.verdict.kind is VerdictKind.LEGAL


async def test_a_unique_key_beneath_the_lease_protects(servers: Servers) -> None:
    async def order_once(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            if await redis.set("lease", "taken", nx=True, ex=60):
                await connection.execute("INSERT INTO unique_orders VALUES ('tea')")

    found = await found_by(
        servers,
        order_once,
        order_once,
        invariant=one_order,
        may_raise=(asyncpg.UniqueViolationError,),
    )
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_fencing_token_beneath_the_lease_protects(servers: Servers) -> None:
    async def fenced(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            if not await redis.set("lease", "taken", nx=True, ex=60):
                return
            token = await redis.incr("token")
            await connection.execute(
                "UPDATE accounts SET amount = $1 WHERE id = 1 AND amount < $1", token
            )

    async def never_backwards(links: Links) -> bool:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            token = int(await redis.get("token") or 0)
            return bool(await connection.fetchval(READ) == token)

    found = await found_by(servers, fenced, fenced, invariant=never_backwards)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_without_the_fence_the_older_token_overwrites_the_newer(servers: Servers) -> None:
    async def unfenced(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            if not await redis.set("lease", "taken", nx=True, ex=60):
                return
            token = await redis.incr("token")
            await connection.execute(WRITE, token)

    async def never_backwards(links: Links) -> bool:
        async with Redis.from_url(links.redis_url) as redis, database(links) as connection:
            token = int(await redis.get("token") or 0)
            return bool(await connection.fetchval(READ) == token)

    found = await found_by(servers, unfenced, unfenced, invariant=never_backwards)
    assert found.verdict.kind is VerdictKind.ILLEGAL


async def test_whoever_polls_for_a_lease_whose_owner_is_gone_gets_it_when_it_runs_out(
    servers: Servers,
) -> None:
    async def die(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.set("accounts", "gone", ex=120)

    found = await found_by(
        servers, die, add_one_under_a_redis_lock(LEASE_SECONDS), invariant=always
    )
    assert found.verdict.kind is not VerdictKind.UNKNOWN
    for_ever = await found_by(
        servers, die, add_one_under_a_redis_lock(), invariant=always, leases_age=False
    )
    assert for_ever.verdict.kind is VerdictKind.ILLEGAL
    assert "w2 polls in vain with SET accounts" in for_ever.verdict.reason
    assert "which w1 wrote in step 1 (SET accounts gone EX 120)" in for_ever.verdict.reason


async def test_a_lease_that_nobody_else_needs_costs_one_schedule_for_each_moment(
    servers: Servers,
) -> None:
    async def alone(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.set("mine", "1", ex=60)
            await redis.get("mine")
            await redis.delete("mine")

    async def other(links: Links) -> None:
        async with database(links) as connection:
            for _ in range(3):
                await connection.execute("UPDATE accounts SET amount = 1 WHERE id = 1")

    found = await found_by(servers, alone, other, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert found.schedules <= 4


async def test_a_key_that_ran_out_may_be_missing_at_the_end(servers: Servers) -> None:
    async def remember(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.set("cache", "1", ex=60)
            await redis.get("other")

    found = await explore(remember, remember, setup=two_accounts, servers=servers)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_workers_sleep_on_while_a_lease_runs_out_and_none_of_their_requests_times_out(
    servers: Servers,
) -> None:
    async def careful(links: Links) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with Redis.from_url(links.redis_url, socket_timeout=1) as redis:
            await redis.set("lease", "1", ex=60)
            async with asyncio.timeout(5):
                await redis.get("lease")
        return loop.time() - began

    schedule = Schedule((Choice("w1"), Choice("age lease"), Choice("w1")))
    found = await found_by(servers, careful, invariant=always, scheduler=ReplayScheduler(schedule))
    assert "every schedule but the one replayed" in found.verdict.reason


@pytest.mark.prove
async def test_reduced_and_unreduced_search_agree_about_leases(servers: Servers) -> None:
    def run_of(seen: set[object]) -> list[Program]:
        async def first(links: Links) -> None:
            async with Redis.from_url(links.redis_url) as redis:
                await redis.set("a", "1", ex=60)
                seen.add(("first", await redis.get("a")))

        async def second(links: Links) -> None:
            async with Redis.from_url(links.redis_url) as redis:
                await redis.set("b", "1", ex=90)
                seen.add(("second", await redis.get("b"), await redis.get("a")))

        return [first, second]

    reduced: set[object] = set()
    everything: set[object] = set()
    await found_by(servers, *run_of(reduced), invariant=always)
    found = await found_by(
        servers,
        *run_of(everything),
        invariant=always,
        scheduler=ExhaustiveScheduler(is_reduced=False),
    )
    assert found.verdict.kind is VerdictKind.LEGAL
    assert reduced == everything
