"""The life of a claim as a table: every status and every way to leave it."""

from collections.abc import Mapping
from enum import StrEnum

from claimwright.domain.errors import InvalidTransitionError


class ClaimStatus(StrEnum):
    """Where a claim stands. Every status but void is live: it occupies its layer."""

    CALCULATED = "calculated"
    APPROVED = "approved"
    INSTRUCTED = "instructed"
    PAID = "paid"
    DECLINED = "declined"
    VOID = "void"


#: What is missing here is forbidden. The database holds the same rows.
TRANSITIONS: Mapping[ClaimStatus, frozenset[ClaimStatus]] = {
    ClaimStatus.CALCULATED: frozenset(
        {ClaimStatus.APPROVED, ClaimStatus.DECLINED, ClaimStatus.VOID}
    ),
    ClaimStatus.APPROVED: frozenset({ClaimStatus.INSTRUCTED, ClaimStatus.VOID}),
    ClaimStatus.INSTRUCTED: frozenset({ClaimStatus.PAID, ClaimStatus.VOID}),
    ClaimStatus.PAID: frozenset({ClaimStatus.VOID}),
    ClaimStatus.DECLINED: frozenset({ClaimStatus.VOID}),
    ClaimStatus.VOID: frozenset(),
}


def is_live(status: str) -> bool:
    """Whether a claim of that status occupies its layer."""
    return ClaimStatus(status) is not ClaimStatus.VOID


def check_transition(before: str, after: str) -> None:
    """Refuse a change of status that the table does not have.

    Raises:
        InvalidTransitionError: the change is not in `TRANSITIONS`, as with unknown words.
    """
    allowed = {(start, end) for start, ends in TRANSITIONS.items() for end in ends}
    if (before, after) not in allowed:
        raise InvalidTransitionError(before, after)
