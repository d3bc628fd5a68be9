"""Two runs over the same days at once: one waits for the other, and both come to an end."""

import asyncio
from dataclasses import replace
from datetime import date

from claimwright.locks import lease_key
from claimwright.operations.calculate_days import Failure, Scope, calculate_days
from claimwright.operations.evaluate import stretches
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.database import TransactionLimits, make_engine, make_sessions
from support.databases import Connection, Connections
from support.ordering import PATIENCE_SECONDS, wait_until_blocked_by
from support.weather import World

from .staging import counted

DAY = date(2025, 1, 15)
EVENT_OF_ANOTHER_RUN = """
    INSERT INTO risk_events (product_version_id, region, zone, local_date, triggered_at, tier_level)
    SELECT product_version_id, coverage_region, zone, '2025-01-15', '2025-01-15T12:00Z', 'tier1'
    FROM policies
    """


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


async def test_a_calculation_whose_lease_is_held_all_the_time_fails_and_stays_asked_for(
    fresh_runtime: Runtime,
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    key = lease_key(world.ids["P1"], DAY)
    await fresh_runtime.redis.set(key, "a worker that died")
    settings = fresh_runtime.settings.model_copy(update={"lease_wait_seconds": 0})
    impatient = replace(fresh_runtime, settings=settings)
    report = await calculate_days(impatient, Scope(DAY, DAY))
    assert (report.claims, report.contended) == (0, 1)
    assert report.failures == [Failure(world.ids["P1"], DAY, "another worker holds its lease")]
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    await fresh_runtime.redis.delete(key)
    assert (await calculate_days(impatient, Scope(DAY, DAY))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_calculation_that_gave_way_is_done_when_the_lease_is_free(
    fresh_runtime: Runtime,
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    key = lease_key(world.ids["P1"], DAY)
    await fresh_runtime.redis.set(key, "another worker")
    gave_way = asyncio.Event()

    def notify(stage: str, done: int, total: int) -> None:
        if stage == "Calculating claims" and done == total:
            gave_way.set()

    running = asyncio.create_task(calculate_days(fresh_runtime, Scope(DAY, DAY), notify=notify))
    await gave_way.wait()
    assert await world.paid_minor("P1") == 0
    await fresh_runtime.redis.delete(key)
    report = await running
    assert (report.claims, report.contended, report.failures) == (1, 1, [])
