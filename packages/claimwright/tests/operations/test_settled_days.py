"""Days that settle at their close, on real servers: they settle once, and verify agrees."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from claimwright.domain.index import Comparison
from claimwright.domain.terms import ProductTerms
from claimwright.operations.transactions import transaction
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime
from claimwright.storage.readings import NewReading, insert_readings
from claimwright.testing import terms_for_testing
from support.weather import World

DAY = date(2025, 6, 7)


def drought_terms() -> ProductTerms:
    """A local day with at most 3, 2 or 1 inches of rain pays."""
    thresholds = (Decimal(3), Decimal(2), Decimal(1))
    return replace(
        terms_for_testing(),
        code="drought-for-testing",
        comparison=Comparison.AT_MOST,
        thresholds=thresholds,
    )


@pytest.fixture
def world(fresh_runtime: Runtime) -> World:
    return World(fresh_runtime, terms=drought_terms(), zone="UTC")


async def store_between_the_hours(world: World, value: str) -> None:
    half_past = datetime(2025, 6, 7, 23, 30, tzinfo=UTC)
    variable = world.terms.index.variable
    async with transaction(world.runtime) as connection:
        reading = NewReading(world.region, variable, half_past, Decimal(value))
        await insert_readings(connection, [reading], source="late")


async def test_a_day_pays_only_once_it_is_complete(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["0.1"] * 23, from_hour=0)
    await world.calculate()
    assert await world.paid_minor("P1") == 0
    await world.rain(DAY, ["0.1"], from_hour=23)
    await world.calculate()
    assert await world.paid_minor("P1") == 2_000


async def test_a_settled_day_stays_settled_when_a_reading_comes_between_its_hours(
    world: World,
) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["0.1"] * 24, from_hour=0)
    await world.calculate()
    await store_between_the_hours(world, "2.0")
    await world.calculate()
    assert await world.paid_minor("P1") == 2_000
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN


async def test_a_policy_of_a_settled_day_is_paid_as_the_others_were(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["0.1"] * 24, from_hour=0)
    await world.calculate()
    await store_between_the_hours(world, "2.0")
    await world.insure({"P2": 10_000})
    await world.calculate()
    assert await world.paid_minor("P2") == 2_000
    assert (await verify(world.runtime)).verdict is Verdict.CLEAN
