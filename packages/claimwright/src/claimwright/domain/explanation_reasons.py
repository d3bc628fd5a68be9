"""What paid nothing, or less than it might, and why: the other half of an explanation."""

from collections.abc import Iterator, Sequence
from datetime import date

from claimwright.domain.calendar import local_date
from claimwright.domain.explanation_facts import ExplainedEvent, PolicyFile, Step
from claimwright.domain.explanation_readings import best_index, local_time, time_text
from claimwright.domain.facts import concerns, covers
from claimwright.domain.index import Comparison
from claimwright.domain.layers import Standing
from claimwright.domain.lifecycle import is_live
from claimwright.domain.money import format_money, plain
from claimwright.domain.triggers import DayEvaluation

_MOST_SLOTS_NAMED = 6


def not_paid(file: PolicyFile, days: Sequence[date]) -> tuple[Step, ...]:
    """Every event of the period that pays nothing, and what stood in the way on these days."""
    return (*_events(file), *_days(file, days), *_next_tier(file))


def limit_is_used_up(file: PolicyFile) -> bool:
    """Whether the policy's live claims add up to its aggregate limit."""
    return Standing.of(file.claims).total_minor >= file.policy.limit_minor


def _events(file: PolicyFile) -> Iterator[Step]:
    paying = {claim.event_id for claim in file.claims if is_live(claim.status)}
    for event in file.events:
        if event.id not in paying:
            day = local_date(event.triggered_at, file.policy.zone, file.terms.day_boundary)
            when = time_text(event.triggered_at, file.policy.zone)
            yield Step(
                "event", f"Event {event.id}, {event.tier_level} at {when}: {_why(file, event, day)}"
            )


def _why(file: PolicyFile, event: ExplainedEvent, day: date) -> str:
    """Why an event that concerns the period pays nothing, the first reason that holds."""
    policy = file.policy
    for withdrawal in file.withdrawals:
        if withdrawal.event_id == event.id:
            return (
                f"withdrawn from this policy by {withdrawal.actor} on "
                f"{withdrawal.withdrawn_at:%Y-%m-%d}: {withdrawal.reason}."
            )
    if not concerns(event, policy):
        return f"its index is of the local day in {event.zone}, the policy is in {policy.zone}."
    if not covers(policy, day):
        return f"{day} lies outside the policy's cover."
    tier = file.terms.schedule.tier(event.tier_level)
    for other in file.events:
        higher = file.terms.schedule.tier(other.tier_level).rank > tier.rank
        if other.triggered_at == event.triggered_at and higher and concerns(other, policy):
            return f"event {other.id} of the same instant has the higher tier {other.tier_level}."
    return _why_nothing_was_left(file, tier.full_minor(policy.coverage_minor))


def _why_nothing_was_left(file: PolicyFile, full_minor: int) -> str:
    currency = file.policy.currency
    reached_minor = Standing.of(file.claims).exhaustion_minor.get(file.period_key, 0)
    text = f"it takes the period to {format_money(full_minor, currency)}"
    if full_minor <= reached_minor:
        paid = format_money(reached_minor, currency)
        return f"{text}, and the period is paid up to {paid} already."
    if limit_is_used_up(file):
        limit = format_money(file.policy.limit_minor, currency)
        return f"{text}, but the aggregate limit of {limit} is used up."
    if file.pending:
        return f"{text}; its calculation is still pending."
    return f"{text}, and nothing is known that stands in the way: run `claimwright verify`."


def _days(file: PolicyFile, days: Sequence[date]) -> Iterator[Step]:
    for day in days:
        if not covers(file.policy, day):
            yield Step("cover", f"{day} lies outside the policy's cover.")
        evaluation = file.days.get(day)
        if evaluation is None:
            yield Step("readings", f"{day}: no readings of {file.terms.index.variable} are known.")
            continue
        for reading, reason in evaluation.implausible:
            when = time_text(reading.observed_at, file.policy.zone)
            yield Step("quarantined", f"The reading of {when} is not believed: {reason}.")
        if evaluation.missing_slots:
            yield Step("missing", _missing(file, evaluation))


def _missing(file: PolicyFile, evaluation: DayEvaluation) -> str:
    slots = evaluation.missing_slots
    local = (local_time(slot, file.policy.zone) for slot in slots[:_MOST_SLOTS_NAMED])
    named = ", ".join(f"{time:%m-%d %H:%M}" for time in local)
    more = f" and {len(slots) - _MOST_SLOTS_NAMED} more" if len(slots) > _MOST_SLOTS_NAMED else ""
    effect = (
        "the day settles once they are known"
        if evaluation.settles_at_close
        else "the index can still change when they become known"
    )
    one = f"{len(slots)} readings are" if len(slots) > 1 else "1 reading is"
    return f"{evaluation.day}: {one} missing ({named}{more}); {effect}."


def _next_tier(file: PolicyFile) -> Iterator[Step]:
    """How far the period's best day stayed from the next tier."""
    terms = file.terms
    indices = {
        day: index
        for day, evaluation in file.days.items()
        if covers(file.policy, day) and (index := best_index(terms, evaluation)) is not None
    }
    if not indices:
        return
    most = max if terms.comparison is Comparison.AT_LEAST else min
    day = most(indices, key=lambda candidate: (indices[candidate], candidate))
    index, unit = indices[day], terms.index.unit
    met = terms.highest_tier_met(index)
    if met < len(terms.thresholds):
        tier, threshold = terms.schedule.tiers[met], terms.thresholds[met]
        away = "short" if terms.comparison is Comparison.AT_LEAST else "too high"
        yield Step(
            "next tier",
            f"{tier.level} needs {terms.comparison.value} {plain(threshold)} {unit}; the index of "
            f"{day} came to {plain(index)} {unit}, {plain(abs(threshold - index))} {unit} {away}.",
        )
    else:
        yield Step("next tier", f"{terms.schedule.tiers[-1].level} is the highest tier there is.")
