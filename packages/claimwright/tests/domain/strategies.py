"""What the properties are searched over: covers, limits, schedules and histories of events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.money import share_half_up
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import PayoutSchedule

from .builders import SampleEvent, SamplePolicy

MICRO = -6
LARGEST_COVER_MINOR = 10**16
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns")

#: Names as terms may have them: what can be printed, and spaces inside.
words = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=200
).filter(lambda text: text == text.strip())

covers_minor = st.one_of(
    st.integers(1, 12), st.integers(1, 10**9), st.integers(1, LARGEST_COVER_MINOR)
)


def _micro_percent(number: int) -> Decimal:
    return Decimal(number).scaleb(MICRO)


limit_percents = st.one_of(
    st.integers(1, 1_000).map(_micro_percent),
    st.integers(1, 100_000_000).map(_micro_percent),
    st.integers(100_000_000, 1_000_000_000).map(_micro_percent),
    st.just(Decimal(100)),
)


@st.composite
def schedules(draw: st.DrawFn, most_tiers: int = 5) -> PayoutSchedule:
    """Any strictly rising payouts of up to six decimals, some of them a hair apart."""
    numbers = draw(
        st.sets(
            st.one_of(st.integers(1, 100_000_000), st.integers(1, 100).map(lambda n: n * 10**6)),
            min_size=1,
            max_size=most_tiers,
        )
    )
    return PayoutSchedule.from_rules(
        {f"t{rank}": _micro_percent(n) for rank, n in enumerate(sorted(numbers), 1)}
    )


@dataclass(frozen=True, slots=True)
class History:
    """A policy, its calculator, and events around its term, some of which do not pay it.

    Attributes:
        batches: every event at least once, in any order, with repeats.
    """

    policy: SamplePolicy
    calculator: ClaimCalculator
    events: tuple[SampleEvent, ...]
    batches: tuple[tuple[SampleEvent, ...], ...]

    def full_minor(self) -> dict[str, int]:
        """Each period's full amount, reckoned from scratch with fractions of money."""
        found: dict[str, int] = {}
        for event in self.events:
            day = (event.triggered_at + _utc_offset(event.triggered_at, self.policy.zone)).date()
            if _pays(event, self.policy, day):
                period = _period(self.calculator.frequency, day)
                found[period] = max(found.get(period, 0), self._full_of(event))
        return {period: amount for period, amount in found.items() if amount}

    def due_minor(self) -> int:
        return min(self.policy.limit_minor, sum(self.full_minor().values()))

    def _full_of(self, event: SampleEvent) -> int:
        percent = next(
            tier.payout_percent
            for tier in self.calculator.schedule.tiers
            if tier.level == event.tier_level
        )
        hundred_millionths = int(percent.scaleb(-MICRO)) * self.policy.coverage_minor
        return (2 * hundred_millionths + 10**8) // (2 * 10**8)


def _utc_offset(instant: datetime, zone: str) -> timedelta:
    return instant.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()


def _pays(event: SampleEvent, policy: SamplePolicy, day: date) -> bool:
    return (
        event.region == policy.coverage_region
        and event.product_version_id == policy.product_version_id
        and (event.zone is None or event.zone == policy.zone)
        and policy.first_day <= day <= policy.last_day
        and (policy.cancelled_on is None or day < policy.cancelled_on)
    )


def _period(frequency: PayoutFrequency, day: date) -> str:
    return {"once_per_day": str(day), "once_per_month": str(day)[:7], "once_per_policy": "term"}[
        frequency.value
    ]


@st.composite
def policies(draw: st.DrawFn) -> SamplePolicy:
    """A policy from 2011-12-28 to 2012-01-03, in which Pacific/Apia skips a date."""
    coverage_minor = draw(covers_minor)
    return SamplePolicy(
        coverage_minor=coverage_minor,
        limit_minor=share_half_up(coverage_minor, draw(limit_percents)),
        zone=draw(st.sampled_from(ZONES)),
        first_day=date(2011, 12, 28),
        last_day=date(2012, 1, 3),
        cancelled_on=draw(st.sampled_from([None, None, None, date(2012, 1, 2)])),
    )


@st.composite
def events_of(
    draw: st.DrawFn, policy: SamplePolicy, levels: Sequence[str]
) -> tuple[SampleEvent, ...]:
    """Up to twelve events on the hours of nine days, so that some share an instant."""
    first = datetime(2011, 12, 27, tzinfo=UTC)
    hours = st.one_of(st.integers(0, 9 * 24), st.integers(40, 52))
    parts = st.tuples(
        st.sampled_from(levels),
        hours,
        st.sampled_from(["JFK"] * 9 + ["LGA"]),
        st.sampled_from([None, policy.zone, policy.zone, "Europe/London"]),
    )
    return tuple(
        SampleEvent(number, level, first + timedelta(hours=hour), region=region, zone=zone)
        for number, (level, hour, region, zone) in enumerate(
            draw(st.lists(parts, min_size=1, max_size=12)), 1
        )
    )


@st.composite
def batchings(
    draw: st.DrawFn, events: tuple[SampleEvent, ...]
) -> tuple[tuple[SampleEvent, ...], ...]:
    """Every event at least once, some again, in any order, cut anywhere."""
    again = draw(st.lists(st.sampled_from(events), max_size=6))
    order = draw(st.permutations([*events, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=len(order))))
    return tuple(
        tuple(order[low:high]) for low, high in zip([0, *cuts], [*cuts, len(order)], strict=True)
    )


@st.composite
def histories(draw: st.DrawFn, most_tiers: int = 5) -> History:
    policy = draw(policies())
    schedule = draw(schedules(most_tiers))
    calculator = ClaimCalculator(schedule, draw(st.sampled_from(PayoutFrequency)))
    events = draw(events_of(policy, [tier.level for tier in schedule.tiers]))
    return History(policy, calculator, events, draw(batchings(events)))
