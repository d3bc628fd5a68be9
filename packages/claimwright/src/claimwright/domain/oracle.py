"""The oracle: what must be paid when the work has drained, and how claims differ from it.

What is due is computed from the readings, day by day, and from directly stored events, by the
pure rules alone. Which rows make up a policy's total may differ with the order of arrival; the
total, and the highest exhaustion each period may have, may not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts, covers
from claimwright.domain.invariants import live_layers
from claimwright.domain.periods import period_key


class DifferenceKind(StrEnum):
    """How claims can differ from what is due."""

    OVERLAP = "overlap"
    GAP = "gap"
    ABOVE_FULL_AMOUNT = "above_full_amount"
    ABOVE_LIMIT = "above_limit"
    PAID_TOO_MUCH = "paid_too_much"
    PAID_TOO_LITTLE = "paid_too_little"
    EVENT_DOES_NOT_PAY = "event_does_not_pay"
    OUTSIDE_COVERAGE = "outside_coverage"
    CLAIM_DISAGREES = "claim_disagrees"
    ACCOUNT_DISAGREES = "account_disagrees"
    EVENT_NOT_SUPPORTED = "event_not_supported"
    EVENT_MISSING = "event_missing"
    UNVERIFIABLE = "unverifiable"

    @property
    def may_be_pending(self) -> bool:
        """Whether work that is still pending could make it good: only what is missing."""
        return self in (DifferenceKind.PAID_TOO_LITTLE, DifferenceKind.EVENT_MISSING)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the claims of a policy and what is due.

    Attributes:
        period_key: the benefit period; `None` when it concerns the whole term.
        due_minor: what is due (or the most that may be), in minor units.
        paid_minor: what the claims say.
    """

    kind: DifferenceKind
    policy_id: int
    period_key: str | None
    due_minor: int
    paid_minor: int
    sentence: str

    @property
    def may_be_pending(self) -> bool:
        """Whether work that is still pending could make it good: only what is missing."""
        return self.kind.may_be_pending


@dataclass(frozen=True, slots=True)
class Due:
    """What a policy is due.

    Attributes:
        full_minor: each period's full amount, its highest tier's, before the limit.
        total_minor: min(aggregate limit, sum of the full amounts).
    """

    full_minor: Mapping[str, int]
    total_minor: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the weather of one policy's terms, region and zone.

    Attributes:
        reached: highest tier per local date, from the readings.
        direct_events: events stored directly, not made from readings.
    """

    reached: Mapping[date, str] = field(default_factory=dict)
    direct_events: Sequence[EventFacts] = ()


def due(policy: PolicyFacts, calculator: ClaimCalculator, evidence: Evidence) -> Due:
    """What the evidence makes due to the policy, by the pure rules."""
    full_minor: dict[str, int] = {}
    for day, level in evidence.reached.items():
        if covers(policy, day):
            period = period_key(calculator.frequency, day)
            amount_minor = calculator.schedule.tier(level).full_minor(policy.coverage_minor)
            full_minor[period] = max(full_minor.get(period, 0), amount_minor)
    for period, reach in calculator.reaches(evidence.direct_events, policy).items():
        full_minor[period] = max(full_minor.get(period, 0), reach.full_minor)
    return Due(full_minor, min(policy.limit_minor, sum(full_minor.values())))


def differences(
    policy: PolicyFacts,
    calculator: ClaimCalculator,
    evidence: Evidence,
    claims: Sequence[ClaimFacts],
    events: Mapping[int, EventFacts],
) -> list[Difference]:
    """How a policy's claims differ from what is due; empty when they are right.

    Args:
        claims: every claim of the policy, void ones too.
        events: the stored events that pay this policy, by id; a withdrawn one is not among them.
    """
    what_is_due = due(policy, calculator, evidence)
    periods = live_layers(claims)
    found: list[Difference] = []
    for (_, period), layers in periods.items():
        found += _layer_differences(policy.id, period, layers)
        found += _above_full(policy.id, period, layers, what_is_due)
        for claim in layers:
            found += _claim_differences(policy, calculator, claim, events.get(claim.event_id))
    found += _total_differences(policy, what_is_due, periods.values())
    return found


def _layer_differences(
    policy_id: int, period: str, layers: Sequence[ClaimFacts]
) -> Iterable[Difference]:
    reached_minor = 0
    for claim in layers:
        if claim.attachment_minor != reached_minor:
            overlap = claim.attachment_minor < reached_minor
            yield Difference(
                DifferenceKind.OVERLAP if overlap else DifferenceKind.GAP,
                policy_id,
                period,
                reached_minor,
                claim.attachment_minor,
                f"a layer begins {'below' if overlap else 'above'} where the one under it ends",
            )
        reached_minor = max(reached_minor, claim.exhaustion_minor)


def _above_full(
    policy_id: int, period: str, layers: Sequence[ClaimFacts], what_is_due: Due
) -> Iterable[Difference]:
    full_minor = what_is_due.full_minor.get(period, 0)
    highest_minor = max(claim.exhaustion_minor for claim in layers)
    if highest_minor > full_minor:
        yield Difference(
            DifferenceKind.ABOVE_FULL_AMOUNT,
            policy_id,
            period,
            full_minor,
            highest_minor,
            "the period pays more than its full amount",
        )


def _claim_differences(
    policy: PolicyFacts, calculator: ClaimCalculator, claim: ClaimFacts, event: EventFacts | None
) -> Iterable[Difference]:
    period, paid_minor = claim.period_key, claim.exhaustion_minor
    if not covers(policy, claim.event_date):
        yield Difference(
            DifferenceKind.OUTSIDE_COVERAGE,
            policy.id,
            period,
            0,
            paid_minor,
            f"its event of {claim.event_date} lies outside the policy's cover",
        )
    reach = calculator.reaches([event] if event else [], policy).get(period)
    reach_minor = reach.full_minor if reach else 0
    if reach_minor < claim.exhaustion_minor:
        yield Difference(
            DifferenceKind.EVENT_DOES_NOT_PAY,
            policy.id,
            period,
            reach_minor,
            paid_minor,
            f"event {claim.event_id} does not take the period as far as its claim",
        )


def _total_differences(
    policy: PolicyFacts, what_is_due: Due, periods: Iterable[Sequence[ClaimFacts]]
) -> Iterable[Difference]:
    paid_minor = sum(
        claim.exhaustion_minor - claim.attachment_minor for layers in periods for claim in layers
    )
    due_minor = what_is_due.total_minor
    if paid_minor > policy.limit_minor:
        kind, limit_minor = DifferenceKind.ABOVE_LIMIT, policy.limit_minor
        sentence = "the policy is paid more than its aggregate limit"
        yield Difference(kind, policy.id, None, limit_minor, paid_minor, sentence)
    if paid_minor != due_minor:
        more = paid_minor > due_minor
        kind = DifferenceKind.PAID_TOO_MUCH if more else DifferenceKind.PAID_TOO_LITTLE
        sentence = f"the policy is paid {'more' if more else 'less'} than is due"
        yield Difference(kind, policy.id, None, due_minor, paid_minor, sentence)
