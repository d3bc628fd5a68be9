"""Risk events to claims: the differential rule, in layers of money.

In each benefit period the events are taken in order of (timestamp, id), with only the highest
tier at each timestamp. A claim's layer begins at the period's live exhaustion so far and ends at

    min(round half up(cover x tier's percentage), attachment + what the aggregate limit leaves)

and a layer of no width makes no claim. So the live layers of a period are contiguous from 0, never
overlap, and their sum is the highest tier's full amount, whatever the order of arrival.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from claimwright.domain.calendar import DayBoundary, local_date
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts, concerns, covers
from claimwright.domain.layers import ClaimDraft, Layer, Standing
from claimwright.domain.money import percentage_of
from claimwright.domain.periods import PayoutFrequency, period_key
from claimwright.domain.schedule import PayoutSchedule, Tier


class Reach(NamedTuple):
    """How far one event takes its benefit period when nothing cuts it."""

    event: EventFacts
    tier: Tier
    full_minor: int


class ClaimCalculator:
    """Calculates what events still add to what a policy has already been paid.

    Args:
        payout_rules: ``{level: cumulative payout in per cent}`` in rising order, or a schedule.
        frequency: ``once_per_day``, ``once_per_month`` or ``once_per_policy``.
        boundary: to which day an event at exactly local midnight belongs.

    Raises:
        InvalidTermsError: the rules or the frequency may not exist.
    """

    __slots__ = ("boundary", "frequency", "schedule")

    def __init__(
        self,
        payout_rules: Mapping[str, object] | PayoutSchedule,
        frequency: str | PayoutFrequency,
        *,
        boundary: DayBoundary = DayBoundary.MIDNIGHT_OPENS_DAY,
    ) -> None:
        self.schedule = PayoutSchedule.from_rules(payout_rules)
        self.frequency = PayoutFrequency.parse(frequency)
        self.boundary = boundary

    def calculate(
        self,
        events: Iterable[EventFacts],
        policy: PolicyFacts,
        existing_claims: Iterable[ClaimFacts],
    ) -> list[ClaimDraft]:
        """The claims these events add, in the order they follow one another.

        Args:
            events: in any order; those of other terms, regions, zones or days outside the
                policy's coverage pay nothing.
            policy: whose cover, limit, zone and days decide.
            existing_claims: every claim of the policy over its whole term, void ones too:
                the aggregate limit looks at all of them.

        Raises:
            InvalidTermsError: an event has a tier that the schedule does not have.
        """
        standing = Standing.of(claim for claim in existing_claims if claim.policy_id == policy.id)
        drafts = []
        for reach in self._in_order(events, policy):
            draft = self._next_claim(reach, policy, standing)
            if draft is not None:
                standing.add(draft)
                drafts.append(draft)
        return drafts

    def reaches(self, events: Iterable[EventFacts], policy: PolicyFacts) -> dict[str, Reach]:
        """Per benefit period, the event that takes it furthest: what is due without a limit."""
        furthest: dict[str, Reach] = {}
        for reach in self._in_order(events, policy):
            period = self.period_of(reach.event, policy)
            if period not in furthest or furthest[period].full_minor < reach.full_minor:
                furthest[period] = reach
        return furthest

    def period_of(self, event: EventFacts, policy: PolicyFacts) -> str:
        """The benefit period of an event, by its local date in the policy's zone."""
        return period_key(
            self.frequency, local_date(event.triggered_at, policy.zone, self.boundary)
        )

    def _in_order(self, events: Iterable[EventFacts], policy: PolicyFacts) -> list[Reach]:
        """Events that pay this policy, by (timestamp, id), one a timestamp: its highest tier."""
        highest: dict[object, Reach] = {}
        for event in sorted(events, key=lambda event: (event.triggered_at, event.id)):
            if not concerns(event, policy):
                continue
            if not covers(policy, local_date(event.triggered_at, policy.zone, self.boundary)):
                continue
            tier = self.schedule.tier(event.tier_level)
            known = highest.get(event.triggered_at)
            if known is None or known.tier.rank < tier.rank:
                full_minor = tier.full_minor(policy.coverage_minor)
                highest[event.triggered_at] = Reach(event, tier, full_minor)
        return list(highest.values())

    def _next_claim(
        self, reach: Reach, policy: PolicyFacts, standing: Standing
    ) -> ClaimDraft | None:
        day = local_date(reach.event.triggered_at, policy.zone, self.boundary)
        period = period_key(self.frequency, day)
        attachment_minor = standing.exhaustion_minor.get(period, 0)
        left_minor = policy.limit_minor - standing.total_minor
        exhaustion_minor = min(reach.full_minor, attachment_minor + left_minor)
        if exhaustion_minor <= attachment_minor:
            return None
        layer = Layer(attachment_minor, exhaustion_minor)
        return ClaimDraft(
            policy_id=policy.id,
            event_id=reach.event.id,
            event_date=day,
            period_key=period,
            tier_level=reach.tier.level,
            layer=layer,
            payout_percentage=_increment(layer, reach, policy, standing.percentage.get(period)),
        )


def _increment(layer: Layer, reach: Reach, policy: PolicyFacts, already: Decimal | None) -> Decimal:
    """What the layer adds in per cent: the tier's rise, or amount by cover where it was cut."""
    if layer.exhaustion_minor == reach.full_minor:
        return reach.tier.payout_percent - (already or Decimal(0))
    return percentage_of(layer.amount_minor, policy.coverage_minor)
