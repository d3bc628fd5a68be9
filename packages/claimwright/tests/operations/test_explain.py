"""What is stored becomes an explanation: evidence as known then, other zones, voids."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from claimwright.domain.errors import InvalidInputError, NotFoundError
from claimwright.domain.index import IndexKind
from claimwright.operations.explain import explain_one_claim, explain_policy
from claimwright.operations.void import VoidRequest, void_claim
from claimwright.runtime import Runtime
from claimwright.testing import terms_for_testing
from support.weather import World

DAY = date(2025, 6, 7)


@pytest.fixture
def world(fresh_runtime: Runtime) -> World:
    return World(fresh_runtime)


async def test_a_claim_keeps_the_readings_that_were_known_then(world: World) -> None:
    await world.insure({"P1": 10_003})
    await world.rain(DAY, ["0.5", "0.6"])
    await world.calculate()
    await world.rain(DAY, ["0.7"])
    await world.rain(DAY, ["0.2"], from_hour=10)
    (claim,) = await world.claims("P1")
    found = await explain_one_claim(world.runtime, claim.policy_id, claim.id)
    assert found.answer == f"Claim {claim.policy_id}-{claim.id} pays 20.01 USD for tier1 on {DAY}."
    assert [str(line.value) for line in found.readings] == ["0.5", "0.6"]
    assert "restated as 0.7" in found.known_today[0]
    assert "0.2 at 2025-06-07 06:00-04:00" in found.known_today[1]


async def test_a_reading_that_came_after_its_day_had_settled_is_told(
    fresh_runtime: Runtime,
) -> None:
    terms = terms_for_testing()
    index = replace(terms.index, kind=IndexKind.DAILY_MIN, cadence_minutes=1440)
    thresholds = (Decimal("0.1"), Decimal(1), Decimal(2))
    world = World(fresh_runtime, replace(terms, index=index, thresholds=thresholds))
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    await world.calculate()
    await world.rain(DAY, ["0"], from_hour=10)
    (claim,) = await world.claims("P1")
    found = await explain_one_claim(world.runtime, claim.policy_id, claim.id)
    assert [str(line.index) for line in found.readings] == ["1.5"]
    assert "0 at 2025-06-07 06:00-04:00" in found.known_today[0]
    assert found.known_today[1] == "All readings known now reach no tier."


async def test_an_event_of_another_zone_is_named(world: World) -> None:
    await world.insure({"P1": 10_000})
    other = World(world.runtime, zone="Asia/Tokyo")
    await other.insure({"T1": 10_000})
    # Noon in UTC is the evening of the same date in Tokyo, and the morning in New York.
    await world.rain(DAY, ["0.5", "0.6"])
    await world.calculate()
    found = await explain_policy(world.runtime, "P1", day=DAY)
    assert found.paid_minor == 2_000
    events = [step.sentence for step in found.not_paid if step.name == "event"]
    assert len(events) == 1
    assert "local day in Asia/Tokyo, the policy is in America/New_York" in events[0]


async def test_a_voided_claim_says_who_and_why(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    await world.calculate()
    (claim,) = await world.claims("P1")
    async with world.runtime.sessions() as session:
        await void_claim(session, VoidRequest(claim.policy_id, claim.id, "a leak", "an auditor"))
    found = await explain_one_claim(world.runtime, claim.policy_id, claim.id)
    assert "is void; it paid 20.00 USD" in found.answer
    assert "by an auditor" in found.not_paid[0].sentence
    assert "a leak" in found.not_paid[0].sentence


async def test_readings_that_nobody_evaluated_show_as_known_now(world: World) -> None:
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    found = await explain_policy(world.runtime, "P1", day=DAY)
    assert found.paid_minor == 0
    assert found.readings[0].crosses == ("tier1",)


@pytest.mark.parametrize(
    ("frequency", "period"), [("once_per_month", "2025-06"), ("once_per_policy", "term")]
)
async def test_a_longer_period_is_explained_by_its_key(
    fresh_runtime: Runtime, frequency: str, period: str
) -> None:
    world = World(fresh_runtime, terms_for_testing(frequency))
    await world.insure({"P1": 10_000})
    await world.rain(DAY, ["1.5"])
    await world.rain(date(2025, 6, 20), ["2.5"])
    await world.calculate()
    found = await explain_policy(fresh_runtime, "P1", period=period)
    assert found.answer == f"Policy P1 is paid 50.00 USD for {period}."
    indices = [step.sentence for step in found.steps if step.name == "index"]
    assert indices == [
        "The index of 2025-06-07 came to 1.5 in: tier1.",
        "The index of 2025-06-20 came to 2.5 in: tier2.",
    ]


@pytest.mark.parametrize("period", ["2025-06", "term", "2025-13-01", "", "yesterday"])
async def test_a_period_that_the_terms_do_not_have_is_refused(world: World, period: str) -> None:
    await world.insure({"P1": 10_000})
    with pytest.raises(InvalidInputError, match="is not a benefit period"):
        await explain_policy(world.runtime, "P1", period=period)


async def test_what_does_not_exist_is_said(world: World) -> None:
    await world.insure({"P1": 10_000})
    with pytest.raises(NotFoundError, match="no policy P2"):
        await explain_policy(world.runtime, "P2", day=DAY)
    with pytest.raises(NotFoundError, match=f"no claim {world.ids['P1']}-1"):
        await explain_one_claim(world.runtime, world.ids["P1"], 1)
    with pytest.raises(InvalidInputError, match="a day or a period"):
        await explain_policy(world.runtime, "P1")
