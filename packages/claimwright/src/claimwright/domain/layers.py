"""Layers of money: the band of the cover that one claim pays."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from claimwright.domain.errors import InvalidLayerError
from claimwright.domain.facts import ClaimFacts
from claimwright.domain.lifecycle import ClaimStatus, is_live


@dataclass(frozen=True, slots=True)
class Layer:
    """The band (attachment, exhaustion] of the cover, in minor units of its currency."""

    attachment_minor: int
    exhaustion_minor: int

    def __post_init__(self) -> None:
        if not 0 <= self.attachment_minor < self.exhaustion_minor:
            raise InvalidLayerError(self.attachment_minor, self.exhaustion_minor)

    @property
    def amount_minor(self) -> int:
        """What the layer pays."""
        return self.exhaustion_minor - self.attachment_minor


@dataclass(frozen=True, slots=True)
class ClaimDraft:
    """A claim that the rules ask for and that nobody has stored yet.

    Attributes:
        event_date: the event's local date in the policy's zone.
        period_key: the benefit period, as `periods.period_key` names it.
        payout_percentage: the increment this claim adds, in per cent of the cover.
    """

    policy_id: int
    event_id: int
    event_date: date
    period_key: str
    tier_level: str
    layer: Layer
    payout_percentage: Decimal

    @property
    def attachment_minor(self) -> int:
        """Where the claim's layer begins."""
        return self.layer.attachment_minor

    @property
    def exhaustion_minor(self) -> int:
        """Where the claim's layer ends."""
        return self.layer.exhaustion_minor

    @property
    def amount_minor(self) -> int:
        """What the claim pays, in minor units."""
        return self.layer.amount_minor

    @property
    def status(self) -> str:
        """A draft becomes a claim that is calculated."""
        return ClaimStatus.CALCULATED


@dataclass(slots=True)
class Standing:
    """What a policy's live claims have taken so far; the calculation moves it up.

    Attributes:
        exhaustion_minor: live exhaustion per benefit period.
        percentage: sum of the live claims' percentages per benefit period.
        total_minor: sum of all live amounts over the term.
    """

    exhaustion_minor: dict[str, int]
    percentage: dict[str, Decimal]
    total_minor: int = 0

    @classmethod
    def of(cls, claims: Iterable[ClaimFacts]) -> "Standing":
        """The standing that live claims of one policy add up to; void claims do not count."""
        standing = cls({}, {})
        for claim in claims:
            if is_live(claim.status):
                standing.add(claim)
        return standing

    def add(self, claim: ClaimFacts) -> None:
        """Count one live claim."""
        period = claim.period_key
        self.exhaustion_minor[period] = max(
            self.exhaustion_minor.get(period, 0), claim.exhaustion_minor
        )
        self.percentage[period] = self.percentage.get(period, Decimal(0)) + claim.payout_percentage
        self.total_minor += claim.exhaustion_minor - claim.attachment_minor
