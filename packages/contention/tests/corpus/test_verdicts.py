"""The kit's verdict on every scenario, under every driver: neither a false pass nor an alarm."""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from contention.explore import Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Servers

from .corpus import CORPUS
from .drivers import DRIVERS, Driver
from .scenario import Scenario, Truth

ASYNCPG, *_ = DRIVERS


def pairs() -> Iterator[ParameterSet]:
    """Every scenario and driver; those beyond one driver a scenario, in turn, are proofs."""
    for number, scenario in enumerate(CORPUS):
        for place, driver in enumerate(DRIVERS):
            is_first = place == number % len(DRIVERS)
            marks = () if is_first else (pytest.mark.prove,)
            yield pytest.param(scenario, driver, id=f"{scenario.name}-{driver.name}", marks=marks)


async def found_by(servers: Servers, scenario: Scenario, driver: Driver) -> Exploration:
    try:
        return await explore(
            *[driver.worker(program) for program in scenario.workers],
            setup=ASYNCPG.task(scenario.begin),
            invariant=scenario.invariant and ASYNCPG.task(scenario.invariant),
            servers=servers,
            may_raise=scenario.may_raise,
        )
    except NotGreenError as not_green:
        return not_green.exploration


@pytest.mark.parametrize(("scenario", "driver"), list(pairs()))
async def test_the_verdict_is_the_truth(
    servers: Servers, scenario: Scenario, driver: Driver
) -> None:
    found = await found_by(servers, scenario, driver)
    expected = VerdictKind.LEGAL if scenario.truth is Truth.HOLDS else VerdictKind.ILLEGAL
    assert found.verdict.kind is expected, str(found)
    if scenario.truth is Truth.DEADLOCKS:
        assert "deadlock" in found.verdict.reason
