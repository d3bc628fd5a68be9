"""Benefit periods: the stretch within which tiers are cumulative."""

from datetime import date
from enum import StrEnum

from claimwright.domain.errors import InvalidTermsError

#: The key of the one period of a policy that pays once per policy.
TERM_PERIOD = "term"


class PayoutFrequency(StrEnum):
    """How often the whole schedule can pay."""

    ONCE_PER_DAY = "once_per_day"
    ONCE_PER_MONTH = "once_per_month"
    ONCE_PER_POLICY = "once_per_policy"

    @classmethod
    def parse(cls, word: "str | PayoutFrequency") -> "PayoutFrequency":
        """The frequency of that word.

        Raises:
            InvalidTermsError: an unknown word; there is no default.
        """
        try:
            return cls(word)
        except ValueError:
            known = ", ".join(cls)
            raise InvalidTermsError("payout.frequency", f"{word!r} is not one of {known}") from None


def period_key(frequency: PayoutFrequency, day: date) -> str:
    """The benefit period of a local date: ``2025-01-15``, ``2025-01`` or ``term``."""
    if frequency is PayoutFrequency.ONCE_PER_DAY:
        return day.isoformat()
    if frequency is PayoutFrequency.ONCE_PER_MONTH:
        return f"{day:%Y-%m}"
    return TERM_PERIOD
