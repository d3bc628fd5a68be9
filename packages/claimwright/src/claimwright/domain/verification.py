"""What the oracle cannot see: stored events against the readings, and records against the rules.

`oracle.differences` compares what is paid with what is due. These functions compare everything
else that is stored with what the rules would have stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.calendar import local_date
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts
from claimwright.domain.invariants import live_layers
from claimwright.domain.money import percentage_of
from claimwright.domain.oracle import Difference, DifferenceKind
from claimwright.domain.periods import period_key
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation


class StoredEventFacts(EventFacts, Protocol):
    """An event with what it says of the readings it was made from."""

    @property
    def local_date(self) -> date | None: ...  # noqa: D102 - the class says what its facts are
    @property
    def value(self) -> Decimal | None: ...  # noqa: D102


class ClaimRecordFacts(ClaimFacts, Protocol):
    """A claim with what else is on record for it."""

    @property
    def id(self) -> int: ...  # noqa: D102 - the class says what its facts are
    @property
    def amount_minor(self) -> int: ...  # noqa: D102
    @property
    def terms_sha256(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class EventDifference:
    """A stored event that the readings do not reach, or one that they reach and nobody stored."""

    kind: DifferenceKind
    day: date
    tier_level: str
    event_id: int | None
    sentence: str


def event_differences(
    terms: ProductTerms,
    zone: str,
    evaluation: DayEvaluation,
    events: Sequence[StoredEventFacts],
    *,
    covered: bool,
) -> Iterator[EventDifference]:
    """How the stored events of one group's local day differ from what the readings say.

    An event of a lower tier than the day reached is right, also where the readings known now
    would jump over it: they may have come in another order.

    Args:
        events: those made from readings of that local date.
        covered: whether any policy of the group covers the day; only then is one missing.
    """
    ranks = {tier.level: tier.rank for tier in terms.schedule.tiers}
    reached = ranks[evaluation.highest_tier] if evaluation.highest_tier else 0
    for event in events:
        reason = _unsupported(terms, zone, evaluation, event, reached)
        if reason:
            yield EventDifference(
                DifferenceKind.EVENT_NOT_SUPPORTED,
                evaluation.day,
                event.tier_level,
                event.id,
                f"event {event.id} of {evaluation.day} says {event.tier_level}, {reason}",
            )
    stored = max((ranks.get(event.tier_level, 0) for event in events), default=0)
    if covered and reached > stored and evaluation.highest_tier:
        index = evaluation.triggers[-1].index
        yield EventDifference(
            DifferenceKind.EVENT_MISSING,
            evaluation.day,
            evaluation.highest_tier,
            None,
            f"the readings of {evaluation.day} reach {evaluation.highest_tier} with "
            f"{index} {terms.index.unit}, and no event says so",
        )


def _unsupported(
    terms: ProductTerms,
    zone: str,
    evaluation: DayEvaluation,
    event: StoredEventFacts,
    reached: int,
) -> str | None:
    day = local_date(event.triggered_at, zone, terms.day_boundary)
    if day != evaluation.day:
        return f"its instant is of {day}"
    rank = terms.schedule.tier(event.tier_level).rank
    if rank > reached:
        return f"the readings reach {evaluation.highest_tier or 'no tier'}"
    if event.value is None or terms.highest_tier_met(event.value) < rank:
        return f"its own index {event.value} does not reach that"
    return None


def reached_without(
    reached: Mapping[date, str],
    calculator: ClaimCalculator,
    events: Mapping[date, Sequence[StoredEventFacts]],
    withdrawn_event_ids: AbstractSet[int],
) -> dict[date, str]:
    """The tiers that days reach for a policy from which events were withdrawn.

    A day with a withdrawn event is worth what its remaining stored events say, and never more
    than the readings say.

    Args:
        reached: highest tier by local date, from the readings.
        events: the stored events made from readings, by local date.
    """
    left = dict(reached)
    for day, of_day in events.items():
        if day not in left or withdrawn_event_ids.isdisjoint(event.id for event in of_day):
            continue
        tiers = [
            calculator.schedule.tier(event.tier_level)
            for event in of_day
            if event.id not in withdrawn_event_ids
        ]
        if not tiers:
            del left[day]
            continue
        bound = calculator.schedule.tier(left[day])
        left[day] = min(max(tiers, key=lambda tier: tier.rank), bound, key=lambda t: t.rank).level
    return left


def record_differences(
    policy: PolicyFacts,
    terms: ProductTerms,
    claims: Sequence[ClaimRecordFacts],
    events: Mapping[int, EventFacts],
) -> Iterator[Difference]:
    """Claims whose records are not what the rules would have stored.

    Args:
        claims: every claim of the policy, void ones too.
        events: every event that concerns the policy, by id, withdrawn ones too.
    """
    for claim in claims:
        for reason in _record_reasons(policy, terms, claim, events.get(claim.event_id)):
            yield _disagreement(claim, reason)
    for layers in live_layers(claims).values():
        yield from _percentages(policy, terms, layers)


def _record_reasons(
    policy: PolicyFacts, terms: ProductTerms, claim: ClaimRecordFacts, event: EventFacts | None
) -> Iterator[str]:
    width_minor = claim.exhaustion_minor - claim.attachment_minor
    if claim.amount_minor != width_minor:
        yield (
            f"claim {claim.id} pays {claim.amount_minor} minor units, "
            f"its layer is {width_minor} wide"
        )
    if claim.terms_sha256 != terms.sha256:
        yield f"claim {claim.id} was calculated with other terms than its policy's"
    period = period_key(terms.frequency, claim.event_date)
    if claim.period_key != period:
        yield f"claim {claim.id} is of {claim.event_date}, whose period is {period}"
    if event is None:
        yield f"event {claim.event_id} of claim {claim.id} does not concern the policy"
        return
    day = local_date(event.triggered_at, policy.zone, terms.day_boundary)
    if claim.event_date != day:
        yield f"claim {claim.id} says {claim.event_date}, its event is of {day}"
    if claim.tier_level != event.tier_level:
        yield f"claim {claim.id} says {claim.tier_level}, its event {event.tier_level}"


def _percentages(
    policy: PolicyFacts, terms: ProductTerms, layers: Sequence[ClaimFacts]
) -> Iterator[Difference]:
    """Each layer's per cent is its tier's rise over those below, or its share where it was cut."""
    below = Decimal(0)
    tiers = {tier.level: tier for tier in terms.schedule.tiers}
    for claim in layers:
        tier = tiers.get(claim.tier_level)
        if tier is not None and claim.exhaustion_minor == tier.full_minor(policy.coverage_minor):
            due = tier.payout_percent - below
        else:
            width_minor = claim.exhaustion_minor - claim.attachment_minor
            due = percentage_of(width_minor, policy.coverage_minor)
        if claim.payout_percentage != due:
            yield _disagreement(
                claim,
                f"the layer of event {claim.event_id} says {claim.payout_percentage} %, "
                f"it adds {due} %",
            )
        below += claim.payout_percentage


def _disagreement(claim: ClaimFacts, sentence: str) -> Difference:
    width_minor = claim.exhaustion_minor - claim.attachment_minor
    kind = DifferenceKind.CLAIM_DISAGREES
    return Difference(kind, claim.policy_id, claim.period_key, width_minor, width_minor, sentence)


def account_differences(
    policy_id: int,
    claims: Sequence[ClaimFacts],
    paid_minor: int | None,
    exhaustion_minor: Mapping[str, int],
) -> Iterator[Difference]:
    """Where the accounts that the database's guard keeps are not what the live claims add up to.

    Args:
        paid_minor: the policy's account; `None` where it has none.
        exhaustion_minor: its periods' accounts.
    """
    periods = {period: layers for (_, period), layers in live_layers(claims).items()}
    total_minor = sum(
        claim.exhaustion_minor - claim.attachment_minor
        for layers in periods.values()
        for claim in layers
    )
    kind = DifferenceKind.ACCOUNT_DISAGREES
    if paid_minor != total_minor:
        sentence = "the policy's account does not say what its live claims pay"
        yield Difference(kind, policy_id, None, total_minor, paid_minor or 0, sentence)
    for period in sorted(exhaustion_minor.keys() | periods.keys()):
        layers = periods.get(period, [])
        top_minor = max((claim.exhaustion_minor for claim in layers), default=0)
        account_minor = exhaustion_minor.get(period, 0)
        if account_minor != top_minor:
            sentence = "the period's account does not end where its layers do"
            yield Difference(kind, policy_id, period, top_minor, account_minor, sentence)
