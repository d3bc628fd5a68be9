"""What an explanation is made from and what it says, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from claimwright.domain.facts import PolicyFacts
from claimwright.domain.index import Reading
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation
from claimwright.domain.verification import ClaimRecordFacts, StoredEventFacts


class ExplainedPolicy(PolicyFacts, Protocol):
    """A policy with what people call it."""

    @property
    def policy_number(self) -> str: ...  # noqa: D102 - the class says what its facts are
    @property
    def currency(self) -> str: ...  # noqa: D102


class ExplainedEvent(StoredEventFacts, Protocol):
    """An event with the readings it was made from."""

    @property
    def reading_ids(self) -> Sequence[int]: ...  # noqa: D102 - the class says what its facts are
    @property
    def note(self) -> str: ...  # noqa: D102


class ExplainedClaim(ClaimRecordFacts, Protocol):
    """A claim with where it came from."""

    @property
    def calculation_id(self) -> UUID: ...  # noqa: D102 - the class says what its facts are
    @property
    def engine_version(self) -> str: ...  # noqa: D102
    @property
    def calculated_at(self) -> datetime: ...  # noqa: D102


class ExplainedWithdrawal(Protocol):
    """Who said that an event no longer pays the policy, and why."""

    @property
    def event_id(self) -> int: ...  # noqa: D102 - the class says what its facts are
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def actor(self) -> str: ...  # noqa: D102
    @property
    def withdrawn_at(self) -> datetime: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """Everything that is known about one benefit period of one policy.

    Attributes:
        claims: every claim of the policy over its term, void ones too.
        events: events of the period's days with the policy's terms and region, of any zone.
        days: what the readings known now say of the period's days that have any.
        evidence: the readings that the period's events name, by id, as they were known then.
        restated: other values that became known later, by the id of the reading.
        pending: whether calculations that concern the policy are still to do.
    """

    policy: ExplainedPolicy
    terms: ProductTerms
    product_version: int
    period_key: str
    claims: Sequence[ExplainedClaim]
    events: Sequence[ExplainedEvent]
    withdrawals: Sequence[ExplainedWithdrawal] = ()
    days: Mapping[date, DayEvaluation] = field(default_factory=dict)
    evidence: Mapping[int, Reading] = field(default_factory=dict)
    restated: Mapping[int, Sequence[Decimal]] = field(default_factory=dict)
    pending: bool = False


@dataclass(frozen=True, slots=True)
class ReadingLine:
    """One reading, and the index as it stood with it.

    Attributes:
        local_time: the instant in the policy's zone, with its offset.
        index: `None` for a reading that the index does not count.
        crosses: the tiers whose thresholds the index crosses first here.
    """

    local_time: datetime
    utc_time: datetime
    value: Decimal
    index: Decimal | None
    crosses: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the reasoning: its name, and what follows, as a sentence."""

    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a claim, or a period, pays what it pays, and not more.

    Attributes:
        claim: the claim's reference; `None` where a day or period is explained.
        paid_minor: what the claim, or all live claims of the period, pay.
        answer: the whole in one sentence.
        readings: of the claim's day or the day asked for; as they were known then for a claim,
            as they are known now for a day.
        steps: from the terms to the amount, each following from those before.
        not_paid: what paid nothing, or less than it might, and why.
        known_today: how what is known now differs from what was known then.
    """

    policy_number: str
    product: str
    product_version: int
    region: str
    zone: str
    currency: str
    coverage_minor: int
    limit_minor: int
    unit: str
    period_key: str
    claim: str | None
    paid_minor: int
    answer: str
    readings: tuple[ReadingLine, ...]
    steps: tuple[Step, ...]
    not_paid: tuple[Step, ...]
    known_today: tuple[str, ...]
