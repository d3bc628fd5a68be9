"""Add a product: the first version of its terms, or the next."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.terms import ProductTerms
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.products import add_version, units_in_use
from claimwright.storage.readings import quarantine
from claimwright.storage.units import settle_units, units_of


@dataclass(frozen=True, slots=True)
class AddedProduct:
    """The version that holds the terms, and whether it is new."""

    id: int
    code: str
    version: int
    sha256: bytes
    is_new: bool


async def add_product(runtime: Runtime, terms: ProductTerms) -> AddedProduct:
    """Store terms as the next version of their product, unless a version has them already.

    Readings that are stored and that the terms do not believe are quarantined at once.

    Raises:
        InvalidTermsError: another product, or an import, measures the same variable in another
            unit; readings carry none, so that one of the two would settle on wrong values.
    """

    async def work(connection: AsyncConnection) -> AddedProduct:
        variable, unit = terms.index.variable, terms.index.unit
        for other, product in (
            (await units_in_use(connection, [variable])).get(variable, {}).items()
        ):
            if other != unit:
                raise InvalidTermsError(
                    "index.unit",
                    f"{variable} is measured in {other} by product {product}, not in {unit}; "
                    "give the variable a name of its own",
                )
        await settle_units(connection, {variable: unit})
        if (known := (await units_of(connection, [variable]))[variable]) != unit:
            raise InvalidTermsError(
                "index.unit",
                f"readings of {variable} are stored in {known}, not in {unit}; "
                "give the variable a name of its own",
            )
        version_id, version, is_new = await add_version(connection, terms)
        if is_new:
            await quarantine(connection, product_version_id=version_id)
        return AddedProduct(version_id, terms.code, version, terms.sha256, is_new)

    return await retried(runtime, work)
