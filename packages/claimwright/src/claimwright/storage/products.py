"""Product versions: immutable terms, known by code and version."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from sqlalchemy import Computed, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.domain.errors import InvalidTermsError, NotFoundError, UnusableRecordError
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_canonical_json
from claimwright.storage.base import Base


class ProductVersion(Base):
    """One version of a product's terms, as canonical JSON; the database derives the rest."""

    __tablename__ = "product_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str]
    version: Mapped[int]
    terms: Mapped[str]
    terms_sha256: Mapped[bytes]
    variable: Mapped[str] = mapped_column(Computed(""))
    frequency: Mapped[str] = mapped_column(Computed(""))
    aggregate_limit_percent: Mapped[Decimal] = mapped_column(Computed(""))
    plausible_minimum: Mapped[Decimal] = mapped_column(Computed(""))
    plausible_maximum: Mapped[Decimal] = mapped_column(Computed(""))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a product, with its terms."""

    id: int
    code: str
    version: int
    terms: ProductTerms


@dataclass(frozen=True, slots=True)
class UnusableVersion:
    """One version of a product whose terms the rules cannot take, and why."""

    id: int
    code: str
    version: int
    fault: str


_COLUMNS = (ProductVersion.id, ProductVersion.code, ProductVersion.version, ProductVersion.terms)
_UNITS = text(
    """
    SELECT DISTINCT ON (variable, unit) variable, unit, code
    FROM (SELECT variable, terms::jsonb #>> '{index,unit}' AS unit, code FROM product_versions
          WHERE variable = ANY(:variables)) measured
    ORDER BY variable, unit, code
    """
)


@lru_cache(maxsize=4096)
def read_terms(canonical_json: str) -> ProductTerms:
    """The terms behind a stored canonical JSON; remembered, since they never change.

    Raises:
        InvalidTermsError: the rules cannot take them.
    """
    return terms_from_canonical_json(canonical_json)


def terms_fault(canonical_json: str) -> str | None:
    """Why the rules cannot take stored terms; `None` where they can."""
    try:
        read_terms(canonical_json)
    except InvalidTermsError as error:
        return str(error)
    return None


async def terms_faults(
    connection: AsyncConnection, version_ids: Iterable[int]
) -> Mapping[int, str]:
    """Why the rules cannot take the terms of some of these versions, by the version's id."""
    rows = await connection.execute(
        select(
            ProductVersion.id, ProductVersion.code, ProductVersion.version, ProductVersion.terms
        ).where(ProductVersion.id.in_(set(version_ids)))
    )
    return {
        row.id: f"product {row.code} version {row.version} cannot be used: {fault}"
        for row in rows
        if (fault := terms_fault(row.terms)) is not None
    }


async def add_version(
    connection: AsyncConnection, terms: ProductTerms, *, version_id: int | None = None
) -> tuple[int, int, bool]:
    """Store terms as the next version of their product, unless they are stored already.

    Returns:
        The version's id, its number, and whether it is new.
    """
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('claimwright:product:' || :code, 0))"),
        {"code": terms.code},
    )
    known = (
        await connection.execute(
            select(ProductVersion.id, ProductVersion.version).where(
                ProductVersion.code == terms.code, ProductVersion.terms_sha256 == terms.sha256
            )
        )
    ).one_or_none()
    if known is not None:
        return known.id, known.version, False
    number = select(func.coalesce(func.max(ProductVersion.version), 0) + 1).where(
        ProductVersion.code == terms.code
    )
    values: dict[str, object] = {
        "code": terms.code,
        "version": number.scalar_subquery(),
        "terms": terms.canonical_json,
        "terms_sha256": terms.sha256,
    }
    if version_id is not None:
        values["id"] = version_id
    added = (
        await connection.execute(
            insert(ProductVersion)
            .values(values)
            .returning(ProductVersion.id, ProductVersion.version)
        )
    ).one()
    return added.id, added.version, True


async def all_versions(connection: AsyncConnection) -> list[StoredVersion | UnusableVersion]:
    """Every version of every product, by code and version."""
    rows = await connection.execute(
        select(*_COLUMNS).order_by(ProductVersion.code, ProductVersion.version)
    )
    return [_version_of(*row) for row in rows]


async def find_version(
    connection: AsyncConnection, code: str, version: int | None = None
) -> StoredVersion:
    """A product's version; the newest where none is named.

    Raises:
        NotFoundError: there is no such product or version.
        UnusableRecordError: the rules cannot take its terms.
    """
    query = select(*_COLUMNS).where(ProductVersion.code == code)
    if version is not None:
        query = query.where(ProductVersion.version == version)
    row = (await connection.execute(query.order_by(ProductVersion.version.desc()).limit(1))).first()
    if row is None:
        raise NotFoundError("product", code if version is None else f"{code} version {version}")
    found = _version_of(*row)
    if isinstance(found, UnusableVersion):
        raise UnusableRecordError("product", f"{code} version {found.version}", found.fault)
    return found


async def version_number(connection: AsyncConnection, version_id: int) -> int:
    """The number of a version within its product, by its id."""
    number = select(ProductVersion.version).where(ProductVersion.id == version_id)
    return (await connection.execute(number)).scalar_one()


async def units_in_use(
    connection: AsyncConnection, variables: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The units in which products measure these variables, each with a product that does so."""
    rows = await connection.execute(_UNITS, {"variables": list(variables)})
    units: dict[str, dict[str, str]] = {}
    for row in rows:
        units.setdefault(row.variable, {})[row.unit] = row.code
    return units


def _version_of(
    version_id: int, code: str, version: int, canonical_json: str
) -> StoredVersion | UnusableVersion:
    fault = terms_fault(canonical_json)
    if fault is not None:
        return UnusableVersion(version_id, code, version, fault)
    return StoredVersion(version_id, code, version, read_terms(canonical_json))
