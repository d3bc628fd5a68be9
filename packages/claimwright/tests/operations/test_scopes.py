"""Runs over a part of the days: what they do not cover stays asked for."""

from datetime import date

from claimwright.operations.calculate_days import Scope, calculate_days
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from support.weather import World

EVE, DAY = date(2025, 1, 15), date(2025, 1, 16)
#: 22:00 of the eve in New York, on the next date in UTC.
LATE_UTC_HOUR = 3


async def test_a_reading_of_a_neighbouring_local_day_is_not_forgotten(
    fresh_runtime: Runtime,
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await calculate_days(fresh_runtime, Scope(EVE, DAY))
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
    await world.rain(DAY, ["1.5"], from_hour=LATE_UTC_HOUR)
    assert (await calculate_days(fresh_runtime, Scope(DAY, DAY))).claims == 0
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    assert (await calculate_days(fresh_runtime, Scope(EVE, EVE))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_new_policy_is_asked_for_until_its_whole_term_was_calculated(
    fresh_runtime: Runtime,
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(EVE, ["1.5"])
    await world.rain(DAY, ["0.1"])
    await world.calculate()
    await world.insure({"P2": 20_000})
    assert (await calculate_days(fresh_runtime, Scope(DAY, DAY))).claims == 0
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    assert (await calculate_days(fresh_runtime, Scope(EVE, DAY))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
    assert await world.paid_minor("P2") == 4_000
