"""Each promise accepts claims that are right and names the one that is broken."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.errors import InvalidLayerError, InvariantViolationError
from claimwright.domain.facts import ClaimFacts
from claimwright.domain.invariants import (
    live_layers,
    verify_contiguous_layers,
    verify_inside_coverage,
    verify_no_downgrade,
    verify_no_duplicate_claims,
    verify_period_payout_invariant,
    verify_recomputable,
    verify_within_aggregate_limit,
)
from claimwright.domain.layers import Layer
from claimwright.domain.schedule import TIER_PAYOUTS

from .builders import SampleClaim, SamplePolicy, event, policy_of, voided

POLICY = SamplePolicy()
CALCULATOR = ClaimCalculator(TIER_PAYOUTS, "once_per_day")
EVENTS = [event(1, "tier1", hour=3), event(2, "tier2", hour=5), event(3, "tier3", hour=7)]
FIRST = SampleClaim()
SECOND = replace(
    FIRST,
    event_id=2,
    tier_level="tier2",
    attachment_minor=20_000,
    exhaustion_minor=50_000,
    payout_percentage=Decimal(30),
)
THIRD = replace(
    FIRST,
    event_id=3,
    tier_level="tier3",
    attachment_minor=50_000,
    exhaustion_minor=100_000,
    payout_percentage=Decimal(50),
)
RIGHT = [FIRST, SECOND, THIRD]
VOID = replace(SECOND, attachment_minor=0, exhaustion_minor=99_000, status="void")
OTHER_DAY = replace(FIRST, event_date=date(2025, 1, 16), period_key="2025-01-16")

Verify = Callable[[list[ClaimFacts]], None]


def payout(claims: list[ClaimFacts]) -> None:
    verify_period_payout_invariant(claims, POLICY)


def downgrade(claims: list[ClaimFacts]) -> None:
    verify_no_downgrade(claims, TIER_PAYOUTS)


def coverage(claims: list[ClaimFacts]) -> None:
    verify_inside_coverage(claims, POLICY)


def limit(claims: list[ClaimFacts]) -> None:
    verify_within_aggregate_limit(claims, POLICY)


def recomputable(claims: list[ClaimFacts]) -> None:
    verify_recomputable(claims, EVENTS, POLICY, CALCULATOR)


ALL: list[Verify] = [
    verify_no_duplicate_claims,
    verify_contiguous_layers,
    payout,
    downgrade,
    coverage,
    limit,
    recomputable,
]
STRANGER = replace(SECOND, policy_id=2, event_date=date(2030, 1, 1), status="paid")


@pytest.mark.parametrize("verify", ALL)
def test_right_claims_are_accepted_in_any_order_beside_void_ones(verify: Verify) -> None:
    verify([THIRD, VOID, FIRST, SECOND])


@pytest.mark.parametrize("verify", [payout, coverage, limit, recomputable])
def test_claims_of_other_policies_are_left_alone(verify: Verify) -> None:
    verify([*RIGHT, STRANGER, replace(STRANGER, event_id=9)])


SEEDED: list[tuple[Verify, list[ClaimFacts], str]] = [
    (verify_no_duplicate_claims, [*RIGHT, FIRST], r"\(0, 20000\] and \(0, 20000\] pay the same"),
    (
        verify_no_duplicate_claims,
        [FIRST, replace(SECOND, attachment_minor=19_999)],
        "pay the same money twice",
    ),
    (
        verify_no_duplicate_claims,
        [replace(THIRD, attachment_minor=0), replace(SECOND, attachment_minor=30_000)],
        "pay the same money twice",
    ),
    (verify_contiguous_layers, [SECOND], "does not begin at 0"),
    (verify_contiguous_layers, [FIRST, THIRD], "does not begin at 20000"),
    (verify_contiguous_layers, [FIRST, FIRST], "does not begin at 20000"),
    (payout, [*RIGHT, FIRST], r"pays 120000 \(120 %\) of a cover of 100000"),
    (payout, [replace(THIRD, payout_percentage=Decimal("100.000001"))], "of a cover of 100000"),
    (
        payout,
        [replace(THIRD, attachment_minor=0, exhaustion_minor=100_001)],
        r"pays 100001 \(50 %\)",
    ),
    (
        downgrade,
        [
            replace(SECOND, attachment_minor=0, payout_percentage=Decimal(50)),
            replace(FIRST, attachment_minor=50_000, exhaustion_minor=70_000),
        ],
        r"tier1 pays up to 20 %, its layer \(50000, 70000\] reaches 70 %",
    ),
    (downgrade, [replace(FIRST, payout_percentage=Decimal(21))], "reaches 21 %"),
    (coverage, [replace(FIRST, event_date=date(2026, 1, 1))], "a claim of 2026-01-01 lies outside"),
    (coverage, [replace(FIRST, event_date=date(2024, 12, 31))], "lies outside its cover"),
    (limit, [*RIGHT, OTHER_DAY], "pays 120000, above its aggregate limit of 100000"),
    (recomputable, [FIRST, SECOND], "pays 50000, its events are worth 100000"),
    (recomputable, [*RIGHT, OTHER_DAY], "pays 120000, its events are worth 100000"),
    (recomputable, [], "pays 0, its events are worth 100000"),
]


@pytest.mark.parametrize(("verify", "claims", "message"), SEEDED)
def test_wrong_claims_are_refused_with_the_numbers_that_are_wrong(
    verify: Verify, claims: list[ClaimFacts], message: str
) -> None:
    with pytest.raises(InvariantViolationError, match=message) as caught:
        verify(claims)
    assert "policy 1" in str(caught.value)


@pytest.mark.parametrize(("verify", "claims"), [seed[:2] for seed in SEEDED])
def test_void_claims_break_nothing(verify: Verify, claims: list[ClaimFacts]) -> None:
    right = RIGHT if verify is recomputable else []
    verify([*right, *map(voided, claims)])


def test_a_cancelled_policy_covers_nothing_from_that_day_on() -> None:
    policy = SamplePolicy(cancelled_on=date(2025, 1, 15))
    with pytest.raises(InvariantViolationError, match="lies outside its cover"):
        verify_inside_coverage([FIRST], policy)


def test_an_overlap_of_two_policies_or_periods_is_none() -> None:
    verify_no_duplicate_claims([FIRST, OTHER_DAY, replace(FIRST, policy_id=2)])
    verify_contiguous_layers([FIRST, OTHER_DAY, replace(FIRST, policy_id=2)])


def test_live_layers_are_grouped_by_policy_and_period_and_sorted() -> None:
    assert live_layers([THIRD, OTHER_DAY, VOID, FIRST]) == {
        (1, "2025-01-15"): [FIRST, THIRD],
        (1, "2025-01-16"): [OTHER_DAY],
    }


@pytest.mark.parametrize(
    ("attachment_minor", "exhaustion_minor"), [(-1, 1), (1, 1), (2, 1), (0, 0)]
)
def test_a_layer_without_width_or_below_zero_cannot_exist(
    attachment_minor: int, exhaustion_minor: int
) -> None:
    with pytest.raises(InvalidLayerError, match=f"not from {attachment_minor} to"):
        Layer(attachment_minor, exhaustion_minor)


def test_a_recomputation_looks_at_the_limit() -> None:
    policy = policy_of(100_000, "30")
    cut = replace(SECOND, exhaustion_minor=30_000, payout_percentage=Decimal(10))
    verify_recomputable([FIRST, cut], EVENTS, policy, CALCULATOR)
    with pytest.raises(InvariantViolationError, match="pays 100000, its events are worth 30000"):
        verify_recomputable(RIGHT, EVENTS, policy, CALCULATOR)
