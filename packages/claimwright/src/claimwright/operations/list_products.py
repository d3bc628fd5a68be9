"""List products, and show one version's terms."""

from dataclasses import dataclass

from claimwright.domain.terms import ProductTerms
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage.products import all_versions, find_version


@dataclass(frozen=True, slots=True)
class ListedProduct:
    """One version of a product."""

    version: int
    terms: ProductTerms


async def list_products(runtime: Runtime) -> list[ListedProduct]:
    """Every version of every product, by code and version."""
    async with transaction(runtime) as connection:
        return [ListedProduct(number, terms) for _, number, terms in await all_versions(connection)]


async def show_product(runtime: Runtime, code: str, version: int | None = None) -> ListedProduct:
    """A version of a product; the newest where none is named.

    Raises:
        NotFoundError: there is no such product or version.
    """
    async with transaction(runtime) as connection:
        _, number, terms = await find_version(connection, code, version)
    return ListedProduct(number, terms)
