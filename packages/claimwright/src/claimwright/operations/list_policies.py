"""List policies by number, page by page."""

from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage import listed_policies
from claimwright.storage.listed_policies import ListedPolicy
from claimwright.storage.pages import Page, checked_limit


async def list_policies(
    runtime: Runtime,
    *,
    product_code: str | None = None,
    region: str | None = None,
    limit: int,
    after_number: str | None = None,
) -> Page[ListedPolicy]:
    """A page of policies, of one product or region where named.

    Raises:
        InvalidInputError: the limit is out of bounds.
    """
    async with transaction(runtime) as connection:
        return await listed_policies.list_policies(
            connection,
            product_code=product_code,
            region=region,
            limit=checked_limit(limit),
            after_number=after_number,
        )
