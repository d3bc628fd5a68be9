"""Risk events to claims: the differential rule, in layers of money.

In each benefit period the events are taken in order of (timestamp, id), with only the highest
tier at each timestamp. A claim's layer begins at the period's live exhaustion so far and ends at

    min(round half up(cover x tier's percentage), attachment + what the aggregate limit leaves)

and a layer of no width makes no claim. So the live layers of a period are contiguous from 0, never
overlap, and their sum is the highest tier's full amount, whatever the order of arrival.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from claimwright.domain.calendar import DayBoundary, local_date
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts, concerns, covers
from claimwright.domain.layers import ClaimDraft, Layer, Standing
from claimwright.domain.money import percentage_of
from claimwright.domain.periods import PayoutFrequency, period_key
from claimwright.domain.schedule import PayoutSchedule, Tier

_NOTHING: Final = Decimal(0)


class Turn(NamedTuple):
    """An event in its turn: the local date and benefit period it falls in, and its tier."""

    event: EventFacts
    day: date
    period: str
    tier: Tier


class Step(NamedTuple):
    """The layer (attachment, exhaustion] that a turn adds, and the per cent of cover it adds."""

    turn: Turn
    attachment_minor: int
    exhaustion_minor: int
    percentage: Decimal


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
        return self.settle(self._turns_of(events, policy), policy, standing)

    def turns(self, events: Iterable[EventFacts], zone: str) -> list[Turn]:
        """Events by (timestamp, id), one a timestamp: its highest tier.

        The same for every policy of one zone that the events concern, so that many policies
        share it.

        Raises:
            InvalidTermsError: an event has a tier that the schedule does not have.
        """
        highest: dict[object, Turn] = {}
        for event in sorted(events, key=lambda event: (event.triggered_at, event.id)):
            tier = self.schedule.tier(event.tier_level)
            known = highest.get(event.triggered_at)
            if known is None or known.tier.rank < tier.rank:
                day = local_date(event.triggered_at, zone, self.boundary)
                highest[event.triggered_at] = Turn(
                    event, day, period_key(self.frequency, day), tier
                )
        return list(highest.values())

    def settle(
        self, turns: Iterable[Turn], policy: PolicyFacts, standing: Standing
    ) -> list[ClaimDraft]:
        """The claims that turns add to a policy's standing, which moves up with each.

        Args:
            turns: of events that concern the policy, in the order of `turns`; those on days
                that it does not cover pay nothing.
            policy: whose cover, limit and days decide.
            standing: what its live claims have taken; at least in the periods of the turns,
                and in total over its term.
        """
        covered = [turn for turn in turns if covers(policy, turn.day)]
        steps = self.steps(covered, policy.coverage_minor, policy.limit_minor, standing)
        return [_draft(step, policy) for step in steps]

    def steps(
        self, turns: Iterable[Turn], coverage_minor: int, limit_minor: int, standing: Standing
    ) -> Iterator[Step]:
        """The layers that turns on covered days add to a standing, which moves up with each.

        The rule of the module in its smallest form: many policies are calculated by it alone.
        """
        exhaustions, percentages = standing.exhaustion_minor, standing.percentage
        for turn in turns:
            attachment_minor = exhaustions.get(turn.period, 0)
            full_minor = turn.tier.full_minor(coverage_minor)
            left_minor = limit_minor - standing.total_minor
            exhaustion_minor = min(full_minor, attachment_minor + left_minor)
            if exhaustion_minor <= attachment_minor:
                continue
            amount_minor = exhaustion_minor - attachment_minor
            already = percentages.get(turn.period, _NOTHING)
            # The tier's rise, or amount by cover where the limit cut the layer.
            percentage = (
                turn.tier.payout_percent - already
                if exhaustion_minor == full_minor
                else percentage_of(amount_minor, coverage_minor)
            )
            exhaustions[turn.period] = exhaustion_minor
            percentages[turn.period] = already + percentage
            standing.total_minor += amount_minor
            yield Step(turn, attachment_minor, exhaustion_minor, percentage)

    def reaches(self, events: Iterable[EventFacts], policy: PolicyFacts) -> dict[str, Reach]:
        """Per benefit period, the event that takes it furthest: what is due without a limit."""
        furthest: dict[str, Reach] = {}
        for turn in self._turns_of(events, policy):
            full_minor = turn.tier.full_minor(policy.coverage_minor)
            known = furthest.get(turn.period)
            if known is None or known.full_minor < full_minor:
                furthest[turn.period] = Reach(turn.event, turn.tier, full_minor)
        return furthest

    def period_of(self, event: EventFacts, policy: PolicyFacts) -> str:
        """The benefit period of an event, by its local date in the policy's zone."""
        return period_key(
            self.frequency, local_date(event.triggered_at, policy.zone, self.boundary)
        )

    def _turns_of(self, events: Iterable[EventFacts], policy: PolicyFacts) -> list[Turn]:
        """The turns of the events that pay this policy."""
        return self.turns(
            (
                event
                for event in events
                if concerns(event, policy)
                and covers(policy, local_date(event.triggered_at, policy.zone, self.boundary))
            ),
            policy.zone,
        )


def _draft(step: Step, policy: PolicyFacts) -> ClaimDraft:
    turn = step.turn
    return ClaimDraft(
        policy_id=policy.id,
        event_id=turn.event.id,
        event_date=turn.day,
        period_key=turn.period,
        tier_level=turn.tier.level,
        layer=Layer(step.attachment_minor, step.exhaustion_minor),
        payout_percentage=step.percentage,
    )
