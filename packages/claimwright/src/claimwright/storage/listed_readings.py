"""Readings as people list them: all of them, the restatements, the quarantined ones."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from claimwright.storage.pages import Page, page_of
from claimwright.storage.products import ProductVersion
from claimwright.storage.readings import QuarantinedReading, StoredReading


@dataclass(frozen=True, slots=True)
class ReadingsFilter:
    """Which readings: `None` for no bound; ``starts_at`` included, ``ends_at`` not."""

    region: str | None = None
    variable: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedReading:
    """A stored reading; ``restates_id`` where another value of its instant was known first."""

    id: int
    region: str
    variable: str
    observed_at: datetime
    value: Decimal
    source: str
    ingested_at: datetime
    restates_id: int | None


@dataclass(frozen=True, slots=True)
class ListedRestatement:
    """A value that came for an instant whose value was known; it is not applied."""

    id: int
    region: str
    variable: str
    observed_at: datetime
    known_value: Decimal
    restated_value: Decimal
    source: str
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class ListedQuarantine:
    """A reading that a product's terms do not believe."""

    reading_id: int
    region: str
    variable: str
    observed_at: datetime
    value: Decimal
    reason: str
    product: str
    source: str


_KEY = (
    StoredReading.region,
    StoredReading.variable,
    StoredReading.observed_at,
    StoredReading.id,
)


async def list_readings(
    connection: AsyncConnection, wanted: ReadingsFilter, *, limit: int, after_id: int | None
) -> Page[ListedReading]:
    """A page of readings by region, variable and time; restatements follow what they restate."""
    columns = [getattr(StoredReading, name) for name in ListedReading.__dataclass_fields__]
    query = select(*columns).where(*_conditions(wanted)).order_by(*_KEY).limit(limit + 1)
    if after_id is not None:
        last = select(*_KEY).where(StoredReading.id == after_id).subquery()
        query = query.where(tuple_(*_KEY) > select(*last.c).scalar_subquery())
    rows = [ListedReading(*row) for row in await connection.execute(query)]
    return page_of(rows, limit, lambda row: str(row.id))


async def list_restatements(
    connection: AsyncConnection, wanted: ReadingsFilter, *, limit: int, after_id: int | None
) -> Page[ListedRestatement]:
    """A page of restatements in the order they came."""
    known = aliased(StoredReading)
    query = (
        select(
            StoredReading.id,
            StoredReading.region,
            StoredReading.variable,
            StoredReading.observed_at,
            known.value,
            StoredReading.value,
            StoredReading.source,
            StoredReading.ingested_at,
        )
        .join(known, known.id == StoredReading.restates_id)
        .where(*_conditions(wanted), StoredReading.id > (after_id or 0))
        .order_by(StoredReading.id)
        .limit(limit + 1)
    )
    rows = [ListedRestatement(*row) for row in await connection.execute(query)]
    return page_of(rows, limit, lambda row: str(row.id))


async def list_quarantined(
    connection: AsyncConnection, wanted: ReadingsFilter, *, limit: int, after_id: int | None
) -> Page[ListedQuarantine]:
    """A page of quarantined readings in the order they came, with every product's reason.

    The limit counts readings; one that several products do not believe has several items.
    """
    readings = (
        select(StoredReading.id)
        .where(
            *_conditions(wanted),
            StoredReading.id > (after_id or 0),
            select(QuarantinedReading.reading_id)
            .where(QuarantinedReading.reading_id == StoredReading.id)
            .exists(),
        )
        .order_by(StoredReading.id)
        .limit(limit + 1)
    )
    ids = list(await connection.scalars(readings))
    product = func.concat(ProductVersion.code, " version ", ProductVersion.version)
    rows = await connection.execute(
        select(
            StoredReading.id,
            StoredReading.region,
            StoredReading.variable,
            StoredReading.observed_at,
            StoredReading.value,
            QuarantinedReading.reason,
            product,
            StoredReading.source,
        )
        .join(QuarantinedReading, QuarantinedReading.reading_id == StoredReading.id)
        .join(ProductVersion, ProductVersion.id == QuarantinedReading.product_version_id)
        .where(StoredReading.id.in_(ids[:limit]))
        .order_by(StoredReading.id, ProductVersion.code, ProductVersion.version)
    )
    cursor = str(ids[limit - 1]) if len(ids) > limit else None
    return Page([ListedQuarantine(*row) for row in rows], cursor)


def _conditions(wanted: ReadingsFilter) -> list[ColumnElement[bool]]:
    conditions = []
    if wanted.region is not None:
        conditions.append(StoredReading.region == wanted.region)
    if wanted.variable is not None:
        conditions.append(StoredReading.variable == wanted.variable)
    if wanted.starts_at is not None:
        conditions.append(StoredReading.observed_at >= wanted.starts_at)
    if wanted.ends_at is not None:
        conditions.append(StoredReading.observed_at < wanted.ends_at)
    return conditions
