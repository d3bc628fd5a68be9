"""Runs over the same days at once: who waits for whom, and that all come to an end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date

from claimwright import Claim
from claimwright.locks import lease_key
from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.evaluate import evaluate_days, stretches
from claimwright.operations.run_reports import Scope
from claimwright.operations.transactions import transaction
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.database import TransactionLimits, make_engine, make_sessions
from claimwright.storage.groups import groups_of_policies
from support.databases import Connection, Connections
from support.ordering import PATIENCE_SECONDS, wait_until_blocked_by
from support.weather import World

from .staging import Hold, counted

DAY = date(2025, 1, 15)
EVENT_OF_ANOTHER_RUN = """
    INSERT INTO risk_events (product_version_id, region, zone, local_date, triggered_at, tier_level)
    SELECT product_version_id, coverage_region, zone, '2025-01-15', '2025-01-15T12:00Z', 'tier1'
    FROM policies
    """


async def one_wet_day(runtime: Runtime) -> World:
    """A policy over 100.00 whose index reached tier1 on `DAY`, evaluated and not calculated."""
    world = World(runtime)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    async with transaction(runtime) as connection:
        (group,) = await groups_of_policies(connection)
        await evaluate_days(connection, group, [DAY])
    return world


@asynccontextmanager
async def worker_in_the_middle(
    runtime: Runtime, world: World
) -> AsyncIterator[tuple[Hold, asyncio.Task[list[Claim]]]]:
    """A worker on the policy's day that holds lease and row lock, and has read, until let go."""
    hold = Hold()

    async def calculate() -> list[Claim]:
        parts = hold.after_reading(PolicyCalculation())
        async with runtime.sessions() as session:
            return await parts.run(
                session, runtime.redis, world.ids["P1"], DAY, runtime.lease_options
            )

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        worker = group.create_task(calculate())
        await hold.reached.wait()
        yield hold, worker
        hold.let_go.set()


async def nobody_waits(watcher: Connection, pid: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", pid
        ):
            pass


async def test_a_run_that_waits_too_long_for_the_events_of_another_does_those_days_again(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    rival, watcher = await fresh_connections.application(), await fresh_connections.superuser()
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    await rival.execute("BEGIN")
    await rival.execute(EVENT_OF_ANOTHER_RUN)
    limits = TransactionLimits(lock_ms=20)
    engine = make_engine(fresh_runtime.addresses.database_url, limits=limits)
    hurried = replace(fresh_runtime, engine=engine, sessions=make_sessions(engine))
    try:
        async with counted("transactions_retried", sqlstate="55P03") as retried:
            running = asyncio.create_task(calculate_days(hurried, Scope(DAY, DAY)))
            await wait_until_blocked_by(watcher, rival.get_server_pid())
            await nobody_waits(watcher, rival.get_server_pid())
            await rival.execute("ROLLBACK")
            report = await running
    finally:
        await engine.dispose()
    assert retried[0] >= 1
    assert (report.claims, report.failures) == (1, [])
    assert await world.paid_minor("P1") == 2_000


def test_one_transaction_evaluates_a_bounded_stretch_of_consecutive_days() -> None:
    days = [date(2025, 1, 3), date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 1)]
    year = [date.fromordinal(date(2013, 1, 1).toordinal() + number) for number in range(365)]
    assert list(stretches([*days, *year])) == [
        year[:92],
        year[92:184],
        year[184:276],
        year[276:],
        [date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 3)],
    ]


async def test_a_run_waits_for_the_row_lock_of_another_worker_and_finds_its_day_done(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    watcher = await fresh_connections.superuser()
    world = await one_wet_day(fresh_runtime)
    async with asyncio.TaskGroup() as group:
        async with worker_in_the_middle(fresh_runtime, world) as (hold, worker):
            running = group.create_task(calculate_days(fresh_runtime, Scope(DAY, DAY)))
            await wait_until_blocked_by(watcher, hold.pid)
        report = await running
    assert len(worker.result()) == 1
    assert (report.calculations, report.claims, report.failures) == (1, 0, [])
    assert await world.paid_minor("P1") == 2_000
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_lease_that_a_dead_worker_left_holds_no_run_up(fresh_runtime: Runtime) -> None:
    world = await one_wet_day(fresh_runtime)
    key = lease_key(world.ids["P1"], DAY)
    await fresh_runtime.redis.set(key, "a worker that died")
    report = await calculate_days(fresh_runtime, Scope(DAY, DAY))
    assert (report.claims, report.contended, report.failures) == (1, 0, [])
    assert await fresh_runtime.redis.get(key) == b"a worker that died"
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_policy_that_somebody_keeps_locked_is_named_and_all_others_are_paid(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    world = await one_wet_day(fresh_runtime)
    await world.insure({"P2": 10_000, "P3": 10_000})
    holder = await fresh_connections.superuser()
    await holder.execute("BEGIN")
    await holder.execute("SELECT FROM policies WHERE id = $1 FOR UPDATE", world.ids["P2"])
    engine = make_engine(fresh_runtime.addresses.database_url, limits=TransactionLimits(lock_ms=20))
    hurried = replace(fresh_runtime, engine=engine, sessions=make_sessions(engine))
    year = Scope(date(2025, 1, 1), date(2025, 12, 31))
    try:
        report = await calculate_days(hurried, year)
    finally:
        await engine.dispose()
    named = {failure.work: failure.reason for failure in report.failures}
    reason = "somebody else kept locked what it needs (55P03)"
    assert named[f"policy {world.ids['P2']}, its whole term"] == reason
    assert [await world.paid_minor(number) for number in world.ids] == [2_000, 0, 2_000]
    await holder.execute("ROLLBACK")
    await calculate_days(fresh_runtime, year)
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
