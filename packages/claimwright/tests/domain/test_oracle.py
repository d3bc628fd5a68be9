"""The oracle agrees with the calculator on every history and names every kind of wrongness."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.calendar import local_date
from claimwright.domain.facts import ClaimFacts
from claimwright.domain.oracle import Difference, DifferenceKind, Evidence, differences, due
from claimwright.domain.schedule import TIER_PAYOUTS

from .builders import SampleClaim, SampleEvent, SamplePolicy, drain, event, policy_of, voided
from .strategies import History, histories

POLICY = SamplePolicy()
CALCULATOR = ClaimCalculator(TIER_PAYOUTS, "once_per_day")
LOW, MIDDLE = event(1, "tier1", hour=3), event(2, "tier2", hour=5)
FIRST = SampleClaim(event_id=1)
SECOND = replace(
    FIRST,
    event_id=2,
    tier_level="tier2",
    attachment_minor=20_000,
    exhaustion_minor=50_000,
    payout_percentage=Decimal(30),
)
OVERLAP, GAP = DifferenceKind.OVERLAP, DifferenceKind.GAP
ABOVE_FULL, ABOVE_LIMIT = DifferenceKind.ABOVE_FULL_AMOUNT, DifferenceKind.ABOVE_LIMIT
TOO_MUCH, TOO_LITTLE = DifferenceKind.PAID_TOO_MUCH, DifferenceKind.PAID_TOO_LITTLE
DOES_NOT_PAY = DifferenceKind.EVENT_DOES_NOT_PAY
OUTSIDE = DifferenceKind.OUTSIDE_COVERAGE


def found(
    claims: Sequence[ClaimFacts],
    events: Sequence[SampleEvent] = (LOW, MIDDLE),
    policy: SamplePolicy = POLICY,
) -> list[Difference]:
    evidence = Evidence(direct_events=events)
    return differences(policy, CALCULATOR, evidence, claims, {event.id: event for event in events})


def kinds(differences_found: Sequence[Difference]) -> set[DifferenceKind]:
    return {difference.kind for difference in differences_found}


def test_right_claims_differ_in_nothing() -> None:
    assert found([SECOND, FIRST]) == []


def test_void_claims_are_not_looked_at() -> None:
    assert found([FIRST, SECOND, voided(replace(SECOND, event_id=77))]) == []


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([FIRST, replace(SECOND, attachment_minor=10_000)], {OVERLAP, TOO_MUCH}),
        ([FIRST, FIRST, SECOND], {OVERLAP, TOO_MUCH}),
        ([FIRST, replace(SECOND, attachment_minor=30_000)], {GAP, TOO_LITTLE}),
        ([SECOND], {GAP, TOO_LITTLE}),
        ([FIRST], {TOO_LITTLE}),
        ([], {TOO_LITTLE}),
        ([FIRST, replace(SECOND, exhaustion_minor=50_001)], {ABOVE_FULL, DOES_NOT_PAY, TOO_MUCH}),
        ([FIRST, replace(SECOND, event_id=1)], {DOES_NOT_PAY}),
        ([FIRST, replace(SECOND, event_id=77)], {DOES_NOT_PAY}),
        (
            [FIRST, SECOND, replace(FIRST, event_date=date(2026, 1, 1), period_key="2026-01-01")],
            {OUTSIDE, ABOVE_FULL, DOES_NOT_PAY, TOO_MUCH},
        ),
        ([FIRST, replace(SECOND, event_date=date(2026, 1, 1))], {OUTSIDE}),
        ([FIRST, replace(SECOND, period_key="2025-01-16")], {GAP, ABOVE_FULL, DOES_NOT_PAY}),
    ],
    ids=[
        "overlap",
        "paid twice",
        "gap",
        "lowest layer missing",
        "topmost layer missing",
        "nothing paid",
        "a minor unit too high",
        "event of a lower tier",
        "event that does not exist",
        "day outside the term",
        "date outside the term",
        "wrong period",
    ],
)
def test_each_seeded_wrongness_is_named(
    claims: list[ClaimFacts], expected: set[DifferenceKind]
) -> None:
    assert kinds(found(claims)) == expected


def test_a_total_above_the_limit_is_named_with_both_sums() -> None:
    policy = policy_of(100_000, "40")
    (limit,) = [d for d in found([FIRST, SECOND], policy=policy) if d.kind is ABOVE_LIMIT]
    assert (limit.due_minor, limit.paid_minor, limit.period_key) == (40_000, 50_000, None)
    assert limit.sentence == "the policy is paid more than its aggregate limit"


@pytest.mark.parametrize(
    "stranger",
    [
        replace(LOW, region="LGA"),
        replace(LOW, product_version_id=2),
        replace(LOW, zone="Europe/London"),
        replace(LOW, triggered_at=datetime(2025, 1, 16, 0, tzinfo=UTC)),
    ],
    ids=["other region", "other terms", "other zone", "other day"],
)
def test_a_claim_whose_event_belongs_elsewhere_is_named(stranger: SampleEvent) -> None:
    claims = [replace(FIRST, event_id=5)]
    assert DOES_NOT_PAY in kinds(found(claims, [replace(stranger, id=5), LOW]))


def test_only_what_is_missing_may_be_pending() -> None:
    pending = {d.kind for d in (sample(kind) for kind in DifferenceKind) if d.may_be_pending}
    assert pending == {TOO_LITTLE, DifferenceKind.EVENT_MISSING}


def sample(kind: DifferenceKind) -> Difference:
    return Difference(kind, 1, None, 0, 0, "")


def test_what_is_due_takes_the_higher_of_readings_and_direct_events() -> None:
    reached = {date(2025, 1, 15): "tier1", date(2025, 1, 16): "tier2", date(2026, 1, 1): "tier3"}
    evidence = Evidence(reached, [MIDDLE])
    found_due = due(policy_of(100_000, "90"), CALCULATOR, evidence)
    assert found_due.full_minor == {"2025-01-15": 50_000, "2025-01-16": 50_000}
    assert found_due.total_minor == 90_000


@given(histories())
def test_the_oracle_finds_nothing_in_what_the_calculator_made(history: History) -> None:
    assert checked(history, made(history)) == []


@given(histories(), st.data())
def test_the_oracle_judges_readings_as_it_judges_direct_events(
    history: History, data: st.DataObject
) -> None:
    from_readings = data.draw(st.sets(st.sampled_from(history.events)))
    reached: dict[date, str] = {}
    policy, schedule = history.policy, history.calculator.schedule
    for one in sorted(from_readings, key=lambda e: schedule.tier(e.tier_level).rank):
        if one.region == policy.coverage_region and one.zone in (None, policy.zone):
            reached[local_date(one.triggered_at, policy.zone)] = one.tier_level
    direct = [one for one in history.events if one not in from_readings]
    by_id = {one.id: one for one in history.events}
    evidence = Evidence(reached, direct)
    assert differences(policy, history.calculator, evidence, made(history), by_id) == []


@given(histories(), st.data())
def test_the_oracle_finds_any_claim_that_is_lost_or_doubled(
    history: History, data: st.DataObject
) -> None:
    claims = made(history)
    assume(claims)
    position = data.draw(st.integers(0, len(claims) - 1))
    lost = [*claims[:position], *claims[position + 1 :]]
    assert TOO_LITTLE in kinds(checked(history, lost))
    assert {OVERLAP, TOO_MUCH} <= kinds(checked(history, [*claims, claims[position]]))


def made(history: History) -> list[ClaimFacts]:
    return drain(history.calculator, history.policy, history.batches)


def checked(history: History, claims: Sequence[ClaimFacts]) -> list[Difference]:
    by_id = {one.id: one for one in history.events}
    evidence = Evidence(direct_events=history.events)
    return differences(history.policy, history.calculator, evidence, claims, by_id)
