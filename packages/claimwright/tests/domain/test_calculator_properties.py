"""What holds of every history: any order, any batches, any repeats, any money."""

from collections.abc import Iterable
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.calculator import ClaimCalculator
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
from claimwright.domain.schedule import PayoutSchedule

from .builders import amount_minor, drain, event, live_total_minor, policy_of, voided
from .strategies import History, batchings, covers_minor, histories, limit_percents


def drained(history: History, existing: Iterable[ClaimFacts] = ()) -> list[ClaimFacts]:
    return drain(history.calculator, history.policy, history.batches, existing)


@given(histories())
def test_any_order_batches_and_repeats_pay_the_full_amounts_up_to_the_limit(
    history: History,
) -> None:
    claims = drained(history)
    assert live_total_minor(claims) == history.due_minor()


@given(histories())
def test_each_period_reaches_its_full_amount_unless_the_limit_cut_it(history: History) -> None:
    claims, full_minor = drained(history), history.full_minor()
    reached = {
        period: layers[-1].exhaustion_minor for (_, period), layers in live_layers(claims).items()
    }
    assert all(reached[period] <= full_minor[period] for period in reached)
    if sum(full_minor.values()) <= history.policy.limit_minor:
        assert reached == full_minor


@given(histories())
def test_each_claims_event_pays_this_policy_and_reaches_the_claims_exhaustion(
    history: History,
) -> None:
    events = {event.id: event for event in history.events}
    for claim in drained(history):
        alone = history.calculator.reaches([events[claim.event_id]], history.policy)
        assert alone[claim.period_key].full_minor >= claim.exhaustion_minor
        assert alone[claim.period_key].tier.level == claim.tier_level


@given(histories())
def test_calculating_again_adds_nothing(history: History) -> None:
    claims = drained(history)
    assert history.calculator.calculate(history.events, history.policy, claims) == []


@given(histories())
def test_every_promise_holds_after_every_history(history: History) -> None:
    claims, policy = drained(history), history.policy
    verify_no_duplicate_claims(claims)
    verify_contiguous_layers(claims)
    verify_period_payout_invariant(claims, policy)
    verify_no_downgrade(claims, history.calculator.schedule)
    verify_inside_coverage(claims, policy)
    verify_within_aggregate_limit(claims, policy)
    verify_recomputable(claims, history.events, policy, history.calculator)


def assert_percentages_add_up(history: History, claims: Iterable[ClaimFacts]) -> None:
    for layers in live_layers(claims).values():
        percentages = [claim.payout_percentage for claim in layers]
        assert all(percentage >= 0 for percentage in percentages)
        reached_percent = history.calculator.schedule.tier(layers[-1].tier_level).payout_percent
        assert sum(percentages) <= reached_percent <= 100


@given(histories())
def test_percentages_are_never_negative_and_never_add_up_above_their_tier(
    history: History,
) -> None:
    assert_percentages_add_up(history, drained(history))


@given(histories(), st.data())
def test_after_layers_were_voided_from_the_top_the_rest_is_due_and_nothing_more(
    history: History, data: st.DataObject
) -> None:
    claims = drained(history)
    for _ in range(data.draw(st.integers(1, 4), label="rounds")):
        history, claims = withdraw_an_event(history, claims, data)
        assert live_total_minor(claims) == history.due_minor()
        verify_contiguous_layers(claims)
        verify_period_payout_invariant(claims, history.policy)
        verify_no_downgrade(claims, history.calculator.schedule)
        assert_percentages_add_up(history, claims)


def withdraw_an_event(
    history: History, claims: list[ClaimFacts], data: st.DataObject
) -> tuple[History, list[ClaimFacts]]:
    """One event withdrawn, the layers from its lowest upwards void, the whole term calculated."""
    live = [claim for claim in claims if claim.status != "void"]
    if not live:
        return history, claims
    event_id = data.draw(st.sampled_from(sorted({claim.event_id for claim in live})), label="event")
    lowest = {
        claim.period_key: claim.attachment_minor
        for claim in sorted(live, key=amount_minor_of_attachment, reverse=True)
        if claim.event_id == event_id
    }
    kept = [
        voided(claim)
        if claim.attachment_minor >= lowest.get(claim.period_key, claim.exhaustion_minor)
        else claim
        for claim in claims
    ]
    events = tuple(event for event in history.events if event.id != event_id)
    batches = data.draw(batchings(events), label="batches") if events else ()
    after = History(history.policy, history.calculator, events, batches)
    return after, drained(after, kept)


def amount_minor_of_attachment(claim: ClaimFacts) -> int:
    return claim.attachment_minor


@given(st.integers(1, 100), covers_minor, limit_percents, st.data())
def test_any_number_of_tiers_telescopes_to_the_highest_one(
    tiers: int, cover_minor: int, limit_percent: Decimal, data: st.DataObject
) -> None:
    rules = {f"t{rank}": Decimal(100 * rank) / tiers for rank in range(1, tiers + 1)}
    rounded = {level: round(percent, 6) for level, percent in rules.items()}
    schedule = PayoutSchedule.from_rules(rounded)
    policy = policy_of(cover_minor, limit_percent)
    ranks = data.draw(st.permutations(range(1, tiers + 1)))
    events = [event(rank, f"t{rank}", hour=rank % 24) for rank in ranks]
    calculator = ClaimCalculator(schedule, "once_per_day")
    claims = drain(calculator, policy, [[one] for one in events])
    verify_contiguous_layers(claims)
    verify_no_downgrade(claims, schedule)
    assert sum(map(amount_minor, claims)) == min(policy.limit_minor, cover_minor)
