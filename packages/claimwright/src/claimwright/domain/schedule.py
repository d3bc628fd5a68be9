"""The payout schedule: tiers in rising order, each with its cumulative payout in per cent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.names import terms_name
from claimwright.domain.numbers import terms_number

#: The schedule used where nothing else is said: cumulative payout in per cent of the cover.
TIER_PAYOUTS: Mapping[str, Decimal] = {
    "tier1": Decimal(20),
    "tier2": Decimal(50),
    "tier3": Decimal(100),
}

#: The most tiers a schedule may have.
MOST_TIERS = 100


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the payout schedule.

    Attributes:
        level: its name, as claims and risk events carry it.
        rank: its place in the schedule, from 1.
        payout_percent: cumulative payout in per cent of the cover, above 0, at most 100.
    """

    level: str
    rank: int
    payout_percent: Decimal
    _ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Reckoned once, because millions of policies ask for their full amounts.
        numerator, denominator = self.payout_percent.as_integer_ratio()
        object.__setattr__(self, "_ratio", (numerator, 100 * denominator))

    def full_minor(self, cover_minor: int) -> int:
        """The exhaustion this tier reaches when no limit cuts it, rounded half up."""
        numerator, denominator = self._ratio
        whole, rest = divmod(cover_minor * numerator, denominator)
        return whole + (2 * rest >= denominator)


@dataclass(frozen=True, slots=True)
class PayoutSchedule:
    """1 to 100 tiers in rising order; strictly rising payouts, none above 100 per cent."""

    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.tiers) <= MOST_TIERS:
            raise InvalidTermsError("payout.tiers", f"a schedule has 1 to {MOST_TIERS} tiers")
        levels = [tier.level for tier in self.tiers]
        if len(set(levels)) != len(levels):
            raise InvalidTermsError("payout.tiers", f"each tier is named once, not {levels}")
        floor = Decimal(0)
        for position, tier in enumerate(self.tiers):
            _check_tier(tier, position, floor)
            floor = tier.payout_percent

    @classmethod
    def from_rules(cls, rules: "Mapping[str, object] | PayoutSchedule") -> "PayoutSchedule":
        """A schedule from ``{level: cumulative payout in per cent}``, in the mapping's order.

        Raises:
            InvalidTermsError: empty, not strictly rising, above 100, or not exact numbers.
        """
        if isinstance(rules, PayoutSchedule):
            return rules
        return cls(
            tuple(
                Tier(level, rank, terms_number(f"payout.tiers.{level}", value))
                for rank, (level, value) in enumerate(rules.items(), start=1)
            )
        )

    def tier(self, level: str) -> Tier:
        """The tier of that name.

        Raises:
            InvalidTermsError: the schedule has no such tier.
        """
        for tier in self.tiers:
            if tier.level == level:
                return tier
        known = ", ".join(tier.level for tier in self.tiers)
        raise InvalidTermsError("tier", f"{level!r} is not one of {known}")


def _check_tier(tier: Tier, position: int, floor: Decimal) -> None:
    key = f"payout.tiers[{position}]"
    terms_name(f"{key}.level", tier.level)
    if tier.rank != position + 1:
        raise InvalidTermsError(f"{key}.rank", f"ranks count from 1, so {position + 1} is due")
    terms_number(f"{key}.payout_percent", tier.payout_percent)
    if not floor < tier.payout_percent <= 100:  # noqa: PLR2004 - per cent
        raise InvalidTermsError(
            f"{key}.payout_percent",
            f"{tier.payout_percent} is not above {floor} and at most 100 per cent",
        )
