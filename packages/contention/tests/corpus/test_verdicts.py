"""The kit's verdict on every scenario, under every driver: neither a false pass nor an alarm."""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from contention.explore import Bounds, Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Servers

from .corpus import CORPUS
from .drivers import DRIVERS, Driver
from .scenario import Scenario, Truth

ASYNCPG, *_ = DRIVERS


def pairs(*, are_quick: bool) -> Iterator[ParameterSet]:
    """Scenarios with one driver each, in turn, or all others."""
    for number, scenario in enumerate(CORPUS):
        for place, driver in enumerate(DRIVERS):
            # Counted so that the longest fall to psycopg, which prepares nothing.
            is_quick = place == (number + 3) % len(DRIVERS) and not scenario.is_long
            if is_quick == are_quick:
                yield pytest.param(scenario, driver, id=f"{scenario.name}-{driver.name}")


async def found_by(
    servers: Servers, scenario: Scenario, driver: Driver, bounds: Bounds
) -> Exploration:
    try:
        return await explore(
            *[driver.worker(program) for program in scenario.workers],
            setup=ASYNCPG.task(scenario.begin),
            invariant=scenario.invariant and ASYNCPG.task(scenario.invariant),
            servers=servers,
            may_raise=scenario.may_raise,
            bounds=bounds,
        )
    except NotGreenError as not_green:
        return not_green.exploration


def assert_the_truth(found: Exploration, scenario: Scenario) -> None:
    expected = VerdictKind.LEGAL if scenario.truth is Truth.HOLDS else VerdictKind.ILLEGAL
    assert found.verdict.kind is expected, str(found)
    if scenario.truth is Truth.DEADLOCKS:
        assert "deadlock" in found.verdict.reason


@pytest.mark.parametrize(("scenario", "driver"), list(pairs(are_quick=True)))
async def test_the_verdict_is_the_truth(
    servers: Servers, scenario: Scenario, driver: Driver
) -> None:
    bounds = Bounds(shrinking=0)
    assert_the_truth(await found_by(servers, scenario, driver, bounds), scenario)


@pytest.mark.prove
@pytest.mark.parametrize(("scenario", "driver"), list(pairs(are_quick=False)))
async def test_the_verdict_is_the_truth_under_every_driver(
    servers: Servers, scenario: Scenario, driver: Driver
) -> None:
    assert_the_truth(await found_by(servers, scenario, driver, Bounds()), scenario)
