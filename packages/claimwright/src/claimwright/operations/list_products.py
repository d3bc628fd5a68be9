"""List products, and show one version's terms."""

from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.products import (
    StoredVersion,
    UnusableVersion,
    all_versions,
    find_version,
)


async def list_products(runtime: Runtime) -> list[StoredVersion | UnusableVersion]:
    """Every version of every product, by code and version."""
    async with transaction(runtime) as connection:
        return await all_versions(connection)


async def show_product(runtime: Runtime, code: str, version: int | None = None) -> StoredVersion:
    """A version of a product; the newest where none is named.

    Raises:
        NotFoundError: there is no such product or version.
        UnusableRecordError: the rules cannot take its terms.
    """
    async with transaction(runtime) as connection:
        return await find_version(connection, code, version)
