"""What the demo found: values for the table, the JSON and the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from claimwright.operations.verify import Verification


@dataclass(frozen=True, slots=True)
class TierFacts:
    """One row of the table: a product's tier at one station.

    Attributes:
        threshold: in the product's unit.
        payout_percent: cumulative, in per cent of the cover.
        events: risk events of this tier.
        claims: live claims of this tier.
        paid_minor: what they pay.
        duplicates: those whose benefit period breaks `verify_no_duplicate_claims`.
    """

    product: str
    region: str
    tier: str
    threshold: Decimal
    unit: str
    payout_percent: Decimal
    events: int
    claims: int
    paid_minor: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class RainyDays:
    """How many local days of a station reached the first tier of rain, and how many are known to.

    Attributes:
        june_7: the rain of 2013-06-07, the wettest day, in inches.
    """

    region: str
    days: int
    expected_days: int
    june_7: Decimal
    expected_june_7: Decimal


@dataclass(frozen=True, slots=True)
class Unbelieved:
    """A quarantined reading, with its instant in the policies' zone."""

    region: str
    variable: str
    observed_at: datetime
    value: Decimal
    product: str
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did with the year.

    Attributes:
        calculations: policies and dates it calculated.
        contended: how often it found the other run at a chunk of policies, and put it off.
        claims: claims it created.
        failures: requests it left undone.
    """

    calculations: int
    contended: int
    claims: int
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the demo and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """Everything the demo says.

    Attributes:
        limited: policies that have paid all their aggregate limit allows.
        violations: broken invariants, as sentences.
        problems: why the demo failed; empty when all is as it must be.
        folder: where the servers' data stays; `None` when it was temporary.
    """

    policies: int
    workers: int
    currency: str
    zone: str
    readings: int
    events: int
    claims: int
    paid_minor: int
    duplicates: int
    limited: int
    tiers: Sequence[TierFacts]
    rainy_days: Sequence[RainyDays]
    quarantined: Sequence[Unbelieved]
    race: tuple[Run, Run]
    again: Run
    verification: Verification
    violations: Sequence[str]
    steps: Sequence[Step]
    problems: Sequence[str]
    claims_file: Path
    report_file: Path
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Crossing:
    """The index crossed a tier's threshold, at a local time."""

    tier: str
    at: datetime
    index: Decimal


@dataclass(frozen=True, slots=True)
class HourFacts:
    """A reading and the running index with it, at a local time."""

    at: datetime
    value: Decimal
    index: Decimal


@dataclass(frozen=True, slots=True)
class DayFacts:
    """A local day of one product at one station: its index and the claims on it.

    Attributes:
        index: at the day's end; `None` without a reading.
        hours: the running index.
        crossings: in order of time, of rising tiers.
    """

    day: date
    index: Decimal | None
    hours: Sequence[HourFacts]
    crossings: Sequence[Crossing]
    claims: int
    paid_minor: int


@dataclass(frozen=True, slots=True)
class StationFacts:
    """One product at one station, day by day."""

    product: str
    region: str
    unit: str
    thresholds: Sequence[tuple[str, Decimal, Decimal]]
    days: Sequence[DayFacts]
