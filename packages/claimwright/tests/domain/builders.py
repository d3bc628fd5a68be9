"""Plain values that the rules take, with defaults that a test overrides where it matters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.facts import ClaimFacts, EventFacts, PolicyFacts
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind, Reading
from claimwright.domain.money import share_half_up
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import PayoutSchedule
from claimwright.domain.terms import ProductTerms

FIRST_DAY = date(2025, 1, 1)
LAST_DAY = date(2025, 12, 31)


@dataclass(frozen=True, slots=True)
class SamplePolicy:
    """A policy of 2025 in UTC over a cover of 100,000 minor units, limited to 100 %."""

    id: int = 1
    product_version_id: int = 1
    coverage_region: str = "JFK"
    coverage_minor: int = 100_000
    limit_minor: int = 100_000
    zone: str = "UTC"
    first_day: date = FIRST_DAY
    last_day: date = LAST_DAY
    cancelled_on: date | None = None


@dataclass(frozen=True, slots=True)
class SampleEvent:
    """A directly stored risk event of the sample policy's region."""

    id: int
    tier_level: str
    triggered_at: datetime
    product_version_id: int = 1
    region: str = "JFK"
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class SampleClaim:
    """A claim row; by default the first tier of the sample policy's 15th of January."""

    policy_id: int = 1
    event_id: int = 1
    event_date: date = date(2025, 1, 15)
    period_key: str = "2025-01-15"
    tier_level: str = "tier1"
    attachment_minor: int = 0
    exhaustion_minor: int = 20_000
    payout_percentage: Decimal = Decimal(20)
    status: str = "calculated"


def policy_of(coverage_minor: int, limit_percent: str | Decimal = "100") -> SamplePolicy:
    """The sample policy with another cover, its limit a percentage of it."""
    limit_minor = share_half_up(coverage_minor, Decimal(limit_percent))
    return SamplePolicy(coverage_minor=coverage_minor, limit_minor=limit_minor)


def event(event_id: int, tier: str, day: int = 15, hour: int = 10, month: int = 1) -> SampleEvent:
    """An event of 2025, in UTC."""
    return SampleEvent(event_id, tier, datetime(2025, month, day, hour, tzinfo=UTC))


def voided(claim: ClaimFacts) -> SampleClaim:
    """The claim's row once it is void."""
    return SampleClaim(
        policy_id=claim.policy_id,
        event_id=claim.event_id,
        event_date=claim.event_date,
        period_key=claim.period_key,
        tier_level=claim.tier_level,
        attachment_minor=claim.attachment_minor,
        exhaustion_minor=claim.exhaustion_minor,
        payout_percentage=claim.payout_percentage,
        status="void",
    )


def with_void(claims: Sequence[ClaimFacts], position: int) -> list[ClaimFacts]:
    """The claims with one of them void."""
    return [*claims[:position], voided(claims[position]), *claims[position + 1 :]]


def drain(
    calculator: ClaimCalculator,
    policy: PolicyFacts,
    batches: Iterable[Sequence[EventFacts]],
    existing: Iterable[ClaimFacts] = (),
) -> list[ClaimFacts]:
    """Every claim after the batches were calculated one after another, each seeing the last."""
    claims = list(existing)
    for batch in batches:
        claims += calculator.calculate(batch, policy, claims)
    return claims


def amount_minor(claim: ClaimFacts) -> int:
    return claim.exhaustion_minor - claim.attachment_minor


def live_total_minor(claims: Iterable[ClaimFacts]) -> int:
    return sum(amount_minor(claim) for claim in claims if claim.status != "void")


RAIN_INDEX = IndexDefinition(
    variable="precipitation",
    unit="in",
    kind=IndexKind.DAILY_SUM,
    plausible_minimum=Decimal(0),
    plausible_maximum=Decimal(10),
)


def terms_of(
    index: IndexDefinition = RAIN_INDEX,
    comparison: Comparison = Comparison.AT_LEAST,
    thresholds: Sequence[str] = ("1.00", "2.00", "3.00"),
    frequency: PayoutFrequency = PayoutFrequency.ONCE_PER_DAY,
) -> ProductTerms:
    """The rain cover 1.00 / 2.00 / 3.00 in a day, or one with another index or thresholds."""
    payouts = {f"tier{rank}": 20 * rank for rank in range(1, len(thresholds) + 1)}
    return ProductTerms(
        code="sample",
        peril="weather",
        index=index,
        comparison=comparison,
        schedule=PayoutSchedule.from_rules(payouts),
        thresholds=tuple(Decimal(threshold) for threshold in thresholds),
        frequency=frequency,
    )


def index_of(
    kind: IndexKind,
    window_hours: int | None = None,
    minimum: str = "0",
    maximum: str = "10",
) -> IndexDefinition:
    """The rain index with another aggregation or plausible range."""
    return replace(
        RAIN_INDEX,
        kind=kind,
        window_hours=window_hours,
        plausible_minimum=Decimal(minimum),
        plausible_maximum=Decimal(maximum),
    )


def hourly_readings(first: datetime, values: Sequence[str | Decimal | int]) -> list[Reading]:
    """One reading an hour from an instant on, with ids from 1."""
    return [
        Reading(number + 1, first + timedelta(hours=number), Decimal(value))
        for number, value in enumerate(values)
    ]
