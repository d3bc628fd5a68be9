"""Product terms: what a contract measures, when it pays and how much. Immutable and hashed."""

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import pairwise

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.calendar import DayBoundary
from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.index import Comparison, IndexDefinition
from claimwright.domain.money import plain, share_half_up
from claimwright.domain.names import terms_name
from claimwright.domain.numbers import terms_number
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import PayoutSchedule

_LONGEST_PERIL = 1_000
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Of the largest cover, this still fits PostgreSQL's bigint.
_LARGEST_LIMIT_PERCENT = 50_000


@dataclass(frozen=True)
class ProductTerms:
    """The terms of one version of a product, valid at birth.

    Attributes:
        code: the product's name in commands: lower-case words joined by hyphens.
        peril: what is insured against, in words.
        thresholds: one a tier, in the schedule's order and the index's unit; rising for
            ``>=``, falling for ``<=``.
        aggregate_limit_percent: the most the policy pays over its term, in per cent of cover.
    """

    code: str
    peril: str
    index: IndexDefinition
    comparison: Comparison
    schedule: PayoutSchedule
    thresholds: tuple[Decimal, ...]
    frequency: PayoutFrequency
    aggregate_limit_percent: Decimal = Decimal(100)
    day_boundary: DayBoundary = DayBoundary.MIDNIGHT_OPENS_DAY

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(terms_name("product.code", self.code)):
            raise InvalidTermsError("product.code", f"{self.code!r} is not lower-case-words")
        terms_name("product.peril", self.peril, most_characters=_LONGEST_PERIL)
        self._check_thresholds()
        key, limit = "payout.aggregate_limit_percent", self.aggregate_limit_percent
        if not 0 < terms_number(key, limit) <= _LARGEST_LIMIT_PERCENT:
            raise InvalidTermsError(
                key, f"{limit} is not above 0 and at most {_LARGEST_LIMIT_PERCENT}"
            )

    def _check_thresholds(self) -> None:
        if len(self.thresholds) != len(self.schedule.tiers):
            raise InvalidTermsError("payout.tiers", "each tier has one threshold")
        for position, threshold in enumerate(self.thresholds):
            terms_number(f"payout.tiers[{position}].threshold", threshold)
        rising = self.comparison is Comparison.AT_LEAST
        for position, (low, high) in enumerate(pairwise(self.thresholds), start=1):
            if (low < high) is not rising or low == high:
                direction = "above" if rising else "below"
                raise InvalidTermsError(
                    f"payout.tiers[{position}].threshold",
                    f"{high} is not {direction} the tier before it ({low})",
                )

    @cached_property
    def calculator(self) -> ClaimCalculator:
        """The calculator of these terms."""
        return ClaimCalculator(self.schedule, self.frequency, boundary=self.day_boundary)

    @property
    def is_monotone(self) -> bool:
        """Whether a threshold once crossed stays crossed, whatever readings arrive later."""
        return self.index.is_monotone(self.comparison)

    def highest_tier_met(self, index: Decimal) -> int:
        """Rank of the highest tier whose threshold the index crosses; 0 for none."""
        return sum(self.comparison.holds(index, threshold) for threshold in self.thresholds)

    def limit_minor(self, cover_minor: int) -> int:
        """The aggregate limit of a cover, rounded half up to the minor unit."""
        return share_half_up(cover_minor, self.aggregate_limit_percent)

    def as_mapping(self) -> dict[str, object]:
        """The terms as plain values, in the shape of their TOML file."""
        index: dict[str, object] = {
            "variable": self.index.variable,
            "unit": self.index.unit,
            "kind": self.index.kind.value,
            "cadence_minutes": self.index.cadence_minutes,
            "plausible": {
                "minimum": plain(self.index.plausible_minimum),
                "maximum": plain(self.index.plausible_maximum),
            },
        }
        if self.index.window_hours is not None:
            index["window_hours"] = self.index.window_hours
        tiers = [
            {
                "level": tier.level,
                "threshold": plain(threshold),
                "payout_percent": plain(tier.payout_percent),
            }
            for tier, threshold in zip(self.schedule.tiers, self.thresholds, strict=True)
        ]
        return {
            "product": {"code": self.code, "peril": self.peril},
            "index": index,
            "payout": {
                "comparison": self.comparison.value,
                "frequency": self.frequency.value,
                "aggregate_limit_percent": plain(self.aggregate_limit_percent),
                "day_boundary": self.day_boundary.value,
                "tiers": tiers,
            },
        }

    @cached_property
    def canonical_json(self) -> str:
        """One text for one meaning: keys sorted, no white space, numbers as plain text."""
        return json.dumps(
            self.as_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the canonical JSON: 32 bytes."""
        return hashlib.sha256(self.canonical_json.encode()).digest()
