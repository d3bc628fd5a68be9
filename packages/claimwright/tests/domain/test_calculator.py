"""The differential rule, one named situation at a time."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import permutations

import pytest

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.calendar import DayBoundary
from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.invariants import verify_no_downgrade
from claimwright.domain.layers import Layer
from claimwright.domain.schedule import TIER_PAYOUTS

from .builders import (
    SampleEvent,
    SamplePolicy,
    amount_minor,
    drain,
    event,
    live_total_minor,
    policy_of,
    voided,
    with_void,
)

DAILY = ClaimCalculator(TIER_PAYOUTS, "once_per_day")
MONTHLY = ClaimCalculator(TIER_PAYOUTS, "once_per_month")
POLICY = SamplePolicy()


class TestFiveWaysToPayTwice:
    """Sequences in which an engine that keys claims by (policy, instant, tier) pays twice."""

    def test_a_higher_tier_later_the_same_day_pays_only_the_rise(self) -> None:
        claims = drain(DAILY, POLICY, [[event(1, "tier1", hour=5)], [event(2, "tier2", hour=9)]])
        assert [amount_minor(claim) for claim in claims] == [20_000, 30_000]

    def test_an_earlier_event_of_the_same_tier_that_arrives_late_pays_nothing(self) -> None:
        claims = drain(DAILY, POLICY, [[event(1, "tier2", hour=5)], [event(2, "tier2", hour=3)]])
        assert [amount_minor(claim) for claim in claims] == [50_000]

    def test_two_halves_of_one_month_pay_the_month_once(self) -> None:
        claims = drain(MONTHLY, POLICY, [[event(1, "tier2", day=5)], [event(2, "tier2", day=20)]])
        assert [amount_minor(claim) for claim in claims] == [50_000]

    def test_three_full_days_pay_no_more_than_the_aggregate_limit(self) -> None:
        batches = [[event(day, "tier3", day=day)] for day in (1, 2, 3)]
        claims = drain(DAILY, POLICY, batches)
        assert [amount_minor(claim) for claim in claims] == [100_000]

    def test_an_unknown_frequency_word_is_refused_when_the_calculator_is_made(self) -> None:
        with pytest.raises(InvalidTermsError, match=r"payout\.frequency: 'once_per_week'"):
            ClaimCalculator(TIER_PAYOUTS, "once_per_week")


@pytest.mark.parametrize("batched", [True, False])
def test_all_orders_of_four_events_pay_the_same(*, batched: bool) -> None:
    events = [
        event(1, "tier1", hour=10),
        event(2, "tier2", hour=14),
        event(3, "tier3", hour=18),
        event(4, "tier2", hour=20),
    ]
    totals = set()
    for order in permutations(events):
        batches = [list(order)] if batched else [[one] for one in order]
        claims = drain(DAILY, POLICY, batches)
        totals.add((sum(claim.payout_percentage for claim in claims), live_total_minor(claims)))
    assert totals == {(Decimal(100), 100_000)}


def test_increments_telescope_20_30_50() -> None:
    events = [event(rank, f"tier{rank}", hour=rank) for rank in (1, 2, 3)]
    claims = DAILY.calculate(events, POLICY, [])
    assert [claim.payout_percentage for claim in claims] == [20, 30, 50]
    assert [claim.layer for claim in claims] == [
        Layer(0, 20_000),
        Layer(20_000, 50_000),
        Layer(50_000, 100_000),
    ]


def test_the_order_within_a_day_is_by_instant_then_id() -> None:
    claims = DAILY.calculate([event(3, "tier1"), event(2, "tier1")], POLICY, [])
    assert [claim.event_id for claim in claims] == [2]


def test_only_the_highest_tier_at_one_timestamp_makes_a_claim() -> None:
    events = [event(1, "tier1"), event(2, "tier3"), event(3, "tier2")]
    claims = DAILY.calculate(events, POLICY, [])
    assert [(claim.event_id, claim.amount_minor) for claim in claims] == [(2, 100_000)]


def test_five_days_of_tier_1_under_a_percent_limit_never_pay_a_cent_above_it() -> None:
    policy = policy_of(10_003)
    claims = DAILY.calculate([event(day, "tier1", day=day) for day in range(1, 6)], policy, [])
    assert [claim.amount_minor for claim in claims] == [2_001, 2_001, 2_001, 2_001, 1_999]
    assert claims[-1].payout_percentage == Decimal("19.984004")
    assert live_total_minor(claims) == 10_003


def test_a_tier_rounds_half_a_minor_unit_up() -> None:
    calculator = ClaimCalculator({"half": "50"}, "once_per_day")
    assert [c.amount_minor for c in calculator.calculate([event(1, "half")], policy_of(5), [])] == [
        3
    ]


def test_a_tier_worth_less_than_half_a_minor_unit_makes_no_claim() -> None:
    assert DAILY.calculate([event(1, "tier1")], policy_of(2), []) == []


def test_a_layer_that_the_limit_cut_is_topped_up_when_a_void_frees_the_limit() -> None:
    policy = policy_of(100_000, "120")
    first, second = event(1, "tier3", day=1), event(2, "tier3", day=2)
    claims = DAILY.calculate([first, second], policy, [])
    assert [claim.amount_minor for claim in claims] == [100_000, 20_000]
    after_void = with_void(claims, 0)
    topped_up = DAILY.calculate([second], policy, after_void)
    assert [(c.layer, c.payout_percentage) for c in topped_up] == [
        (Layer(20_000, 100_000), Decimal(80))
    ]


def test_a_lower_tier_tops_up_a_higher_one_that_the_limit_had_cut_short_of_it() -> None:
    calculator = ClaimCalculator({"low": "50", "high": "100"}, "once_per_day")
    full_day, late, early = (
        event(1, "high", day=1),
        event(2, "high", day=2, hour=9),
        event(3, "low", day=2, hour=3),
    )
    claims = calculator.calculate([full_day, late], policy_of(100_000, "130"), [])
    after_void = with_void(claims, 0)
    added = calculator.calculate([late, early], policy_of(100_000, "130"), after_void)
    assert [(claim.tier_level, claim.layer) for claim in added] == [
        ("low", Layer(30_000, 50_000)),
        ("high", Layer(50_000, 100_000)),
    ]
    verify_no_downgrade([*after_void, *added], calculator.schedule)


def test_percentages_of_layers_cut_again_and_again_never_add_up_above_their_tier() -> None:
    calculator = ClaimCalculator({"hair": "0.000002"}, "once_per_day")
    policy = policy_of(10**9)
    claims = drain(calculator, replace(policy, limit_minor=6), [[event(1, "hair")]])
    for limit_minor in (12, 18, 20):
        freed = replace(policy, limit_minor=limit_minor)
        claims = drain(calculator, freed, [[event(1, "hair")]], claims)
    assert [amount_minor(claim) for claim in claims] == [6, 6, 6, 2]
    assert [claim.payout_percentage for claim in claims] == [0, 0, 0, Decimal("0.000002")]


def test_void_claims_count_neither_for_the_period_nor_for_the_limit() -> None:
    void = [voided(claim) for claim in DAILY.calculate([event(1, "tier3")], POLICY, [])]
    again = DAILY.calculate([event(2, "tier2")], POLICY, void)
    assert [(claim.event_id, claim.layer) for claim in again] == [(2, Layer(0, 50_000))]


def test_claims_of_another_policy_do_not_count() -> None:
    others = DAILY.calculate([event(1, "tier3")], SamplePolicy(id=2), [])
    assert [c.amount_minor for c in DAILY.calculate([event(1, "tier3")], POLICY, others)] == [
        100_000
    ]


@pytest.mark.parametrize(
    "stranger",
    [
        SampleEvent(1, "tier1", datetime(2025, 1, 15, tzinfo=UTC), product_version_id=2),
        SampleEvent(1, "tier1", datetime(2025, 1, 15, tzinfo=UTC), region="LGA"),
        SampleEvent(1, "tier1", datetime(2025, 1, 15, tzinfo=UTC), zone="Europe/London"),
        SampleEvent(1, "tier1", datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)),
        SampleEvent(1, "tier1", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    ids=["other terms", "other region", "other zone", "before the term", "after the term"],
)
def test_events_of_other_terms_regions_zones_and_days_pay_nothing(stranger: SampleEvent) -> None:
    assert DAILY.calculate([stranger], POLICY, []) == []


def test_an_event_made_from_readings_of_the_policys_own_zone_pays() -> None:
    own = SampleEvent(1, "tier1", datetime(2025, 1, 15, tzinfo=UTC), zone="UTC")
    assert len(DAILY.calculate([own], POLICY, [])) == 1


def test_the_first_and_the_last_local_day_are_covered() -> None:
    policy = SamplePolicy(zone="America/New_York")
    first = SampleEvent(1, "tier1", datetime(2025, 1, 1, 5, tzinfo=UTC))
    last = SampleEvent(2, "tier1", datetime(2026, 1, 1, 4, 59, tzinfo=UTC))
    claims = DAILY.calculate([first, last], policy, [])
    assert [claim.period_key for claim in claims] == ["2025-01-01", "2025-12-31"]


def test_a_cancelled_policy_pays_up_to_the_day_before() -> None:
    policy = SamplePolicy(cancelled_on=date(2025, 1, 15))
    claims = DAILY.calculate([event(1, "tier1", day=14), event(2, "tier1", day=15)], policy, [])
    assert [claim.event_date for claim in claims] == [date(2025, 1, 14)]


def test_a_benefit_period_is_local_to_the_policy() -> None:
    policy = SamplePolicy(zone="America/New_York")
    late = SampleEvent(1, "tier1", datetime(2025, 2, 1, 4, tzinfo=UTC))
    (claim,) = MONTHLY.calculate([late], policy, [])
    assert (claim.period_key, claim.event_date) == ("2025-01", date(2025, 1, 31))


def test_midnight_opens_or_closes_a_day_as_the_terms_say() -> None:
    closing = ClaimCalculator(
        TIER_PAYOUTS, "once_per_day", boundary=DayBoundary.MIDNIGHT_CLOSES_DAY
    )
    midnight = event(1, "tier1", day=15, hour=0)
    assert [DAILY.period_of(midnight, POLICY), closing.period_of(midnight, POLICY)] == [
        "2025-01-15",
        "2025-01-14",
    ]


def test_once_per_policy_has_one_period_for_the_whole_term() -> None:
    calculator = ClaimCalculator(TIER_PAYOUTS, "once_per_policy")
    events = [event(1, "tier1", month=2), event(2, "tier2", month=7), event(3, "tier1", month=9)]
    claims = calculator.calculate(events, POLICY, [])
    assert [(claim.period_key, claim.amount_minor) for claim in claims] == [
        ("term", 20_000),
        ("term", 30_000),
    ]


def test_an_event_of_a_tier_that_the_schedule_lacks_is_an_error() -> None:
    with pytest.raises(InvalidTermsError, match="'tier9' is not one of tier1, tier2, tier3"):
        DAILY.calculate([event(1, "tier9")], POLICY, [])
