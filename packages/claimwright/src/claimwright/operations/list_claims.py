"""List claims, page by page."""

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.lifecycle import ClaimStatus
from claimwright.domain.references import parse_claim_reference
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage import listed_claims
from claimwright.storage.listed_claims import ClaimsFilter, ListedClaim
from claimwright.storage.pages import Page, checked_limit


async def list_claims(
    runtime: Runtime, wanted: ClaimsFilter, *, limit: int, after: str | None = None
) -> Page[ListedClaim]:
    """A page of claims by policy and claim.

    Args:
        runtime: the servers.
        wanted: which claims.
        limit: at most so many.
        after: the reference of the claim after which the page begins.

    Raises:
        InvalidInputError: an unknown status, a limit out of bounds, or no reference.
    """
    check_filter(wanted)
    cursor = parse_claim_reference(after) if after is not None else None
    async with transaction(runtime) as connection:
        return await listed_claims.list_claims(
            connection, wanted, limit=checked_limit(limit), after=cursor
        )


def check_filter(wanted: ClaimsFilter) -> None:
    """See that a filter can match something.

    Raises:
        InvalidInputError: an unknown status, or a first day after the last.
    """
    if wanted.status is not None and wanted.status not in set(ClaimStatus):
        known = ", ".join(ClaimStatus)
        raise InvalidInputError(f"{wanted.status!r} is not a status of a claim: {known}")
    first, last = wanted.first_day, wanted.last_day
    if first is not None and last is not None and first > last:
        raise InvalidInputError(f"the first day {first} lies after the last {last}")
