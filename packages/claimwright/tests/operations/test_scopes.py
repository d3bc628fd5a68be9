"""Runs over a part of the days: what they do not cover stays asked for."""

from dataclasses import replace
from datetime import date

import pytest

from claimwright.domain.index import IndexKind
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.run_reports import Scope
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.testing import terms_for_testing
from support.databases import Connections
from support.weather import World

LONG_BEFORE, EVE, DAY = date(2025, 1, 14), date(2025, 1, 15), date(2025, 1, 16)
#: 22:00 of the eve in New York, on the next date in UTC.
LATE_UTC_HOUR = 3


async def store_an_event_for(connections: Connections, number: str) -> None:
    """Store an event directly, late on the eve, for the terms and region of a policy."""
    application = await connections.application()
    await application.execute(
        "INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)"
        " SELECT product_version_id, coverage_region, '2025-01-16T03:00Z', 'tier1'"
        " FROM policies WHERE policy_number = $1",
        number,
    )


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


async def test_the_first_day_of_a_run_looks_back_over_its_whole_window(
    fresh_runtime: Runtime,
) -> None:
    terms = terms_for_testing()
    index = replace(terms.index, kind=IndexKind.ROLLING_SUM, window_hours=72)
    world = World(fresh_runtime, replace(terms, index=index))
    await world.insure({"P1": 10_000})
    await world.rain(LONG_BEFORE, ["0.6"])
    await calculate_days(fresh_runtime, Scope(LONG_BEFORE, LONG_BEFORE))
    await world.rain(DAY, ["0.6"], from_hour=LATE_UTC_HOUR + 4)
    assert (await calculate_days(fresh_runtime, Scope(DAY, DAY))).claims == 1
    assert await world.paid_minor("P1") == 2_000


async def test_a_direct_event_is_paid_by_the_run_over_its_local_day(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await store_an_event_for(fresh_connections, "P1")
    assert (await calculate_days(fresh_runtime, Scope(DAY, DAY))).claims == 0
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    assert (await calculate_days(fresh_runtime, Scope(EVE, EVE))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN


async def test_a_run_over_one_product_evaluates_for_all_and_leaves_the_others_claims_asked_for(
    fresh_runtime: Runtime,
) -> None:
    world = World(fresh_runtime)
    other = World(fresh_runtime, replace(terms_for_testing(), code="another-product"))
    await world.insure({"P1": 10_000})
    await other.insure({"P2": 20_000})
    await calculate_days(fresh_runtime, Scope(EVE, DAY))
    await world.rain(DAY, ["1.5"])
    report = await calculate_days(fresh_runtime, Scope(DAY, DAY, product_code="another-product"))
    assert (report.claims, report.requests_finished) == (1, 2)
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    assert (await calculate_days(fresh_runtime, Scope(DAY, DAY))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
    assert [await world.paid_minor("P1"), await other.paid_minor("P2")] == [2_000, 4_000]


@pytest.mark.parametrize("part", [{"product_code": "another-product"}, {"region": "LGA"}])
async def test_a_run_over_a_part_leaves_asked_for_the_events_of_the_rest(
    fresh_runtime: Runtime, fresh_connections: Connections, part: dict[str, str]
) -> None:
    world = World(fresh_runtime)
    other = World(fresh_runtime, replace(terms_for_testing(), code="another-product"), "LGA")
    await world.insure({"P1": 10_000})
    await other.insure({"P2": 20_000})
    await calculate_days(fresh_runtime, Scope(EVE, DAY))
    await store_an_event_for(fresh_connections, "P1")
    assert (await calculate_days(fresh_runtime, Scope(EVE, DAY, **part))).claims == 0
    assert (await verify(fresh_runtime)).verdict is Verdict.PENDING
    assert (await calculate_days(fresh_runtime, Scope(EVE, DAY))).claims == 1
    assert (await verify(fresh_runtime)).verdict is Verdict.CLEAN
