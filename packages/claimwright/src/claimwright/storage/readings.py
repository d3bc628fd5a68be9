"""Readings: append-only; the first value known of an instant counts, others are restatements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from claimwright.domain.index import Reading
from claimwright.storage.base import Base


class StoredReading(Base):
    """One measured value at a place and time; ``restates_id`` where another was known first."""

    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    region: Mapped[str]
    variable: Mapped[str]
    observed_at: Mapped[datetime]
    value: Mapped[Decimal]
    restates_id: Mapped[int | None]
    source: Mapped[str]
    ingested_at: Mapped[datetime] = mapped_column(server_default=func.now())


class QuarantinedReading(Base):
    """A reading that a product's terms do not believe, with the reason."""

    __tablename__ = "quarantined_readings"

    product_version_id: Mapped[int] = mapped_column(primary_key=True)
    reading_id: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str]
    quarantined_at: Mapped[datetime] = mapped_column(server_default=func.now())


@dataclass(frozen=True, slots=True)
class NewReading:
    """A reading to be stored; ``observed_at`` is aware."""

    region: str
    variable: str
    observed_at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """What became of readings that were offered; ``implausible`` are some of the new ones."""

    added: int
    restated: int
    known: int
    implausible: int = 0


_INSERT_FIRST = text(
    """
    INSERT INTO readings (region, variable, observed_at, value, source)
    SELECT region, variable, observed_at, value, :source
    FROM unnest(CAST(:region AS text[]), CAST(:variable AS text[]),
                CAST(:observed_at AS timestamptz[]), CAST(:value AS numeric[]))
         WITH ORDINALITY AS n (region, variable, observed_at, value, place)
    ORDER BY region, variable, observed_at, place
    ON CONFLICT DO NOTHING
    RETURNING id
    """
)
# A statement of its own, after the first has waited for whoever stored the same instants: only
# a later statement sees what they stored.
_INSERT_RESTATEMENTS = text(
    """
    INSERT INTO readings (region, variable, observed_at, value, source, restates_id)
    SELECT n.region, n.variable, n.observed_at, n.value, :source, f.id
    FROM unnest(CAST(:region AS text[]), CAST(:variable AS text[]),
                CAST(:observed_at AS timestamptz[]), CAST(:value AS numeric[]))
         AS n (region, variable, observed_at, value)
    JOIN readings f ON f.region = n.region AND f.variable = n.variable
        AND f.observed_at = n.observed_at AND f.restates_id IS NULL AND f.value <> n.value
    ORDER BY n.region, n.variable, n.observed_at
    ON CONFLICT DO NOTHING
    RETURNING id
    """
)
_QUARANTINE = text(
    """
    INSERT INTO quarantined_readings (product_version_id, reading_id, reason)
    SELECT p.id, r.id,
           CASE WHEN r.value < p.plausible_minimum
                THEN r.value || ' is below the plausible minimum ' || p.plausible_minimum
                ELSE r.value || ' is above the plausible maximum ' || p.plausible_maximum END
    FROM readings r JOIN product_versions p ON p.variable = r.variable
    WHERE (r.value < p.plausible_minimum OR r.value > p.plausible_maximum)
      AND (CAST(:product_version_id AS bigint) IS NULL OR p.id = :product_version_id)
      AND (CAST(:reading_ids AS bigint[]) IS NULL OR r.id = ANY(:reading_ids))
    ON CONFLICT DO NOTHING
    """
)
_COUNT_QUARANTINED = text(
    "SELECT count(DISTINCT reading_id) FROM quarantined_readings WHERE reading_id = ANY(:ids)"
)
# What was offered, each value once an instant; of an instant that nothing is known of, the value
# offered first counts as new and the others restate it.
_PREVIEW = text(
    """
    WITH offered AS (
        SELECT region, variable, observed_at, value, min(place) AS place
        FROM unnest(CAST(:region AS text[]), CAST(:variable AS text[]),
                    CAST(:observed_at AS timestamptz[]), CAST(:value AS numeric[]))
             WITH ORDINALITY AS n (region, variable, observed_at, value, place)
        GROUP BY region, variable, observed_at, value
    ), judged AS (
        SELECT o.variable, o.value, CASE
            WHEN EXISTS (SELECT FROM readings r
                WHERE (r.region, r.variable, r.observed_at, r.value)
                    = (o.region, o.variable, o.observed_at, o.value)) THEN 'known'
            WHEN f.id IS NULL AND o.place = min(o.place) OVER (
                PARTITION BY o.region, o.variable, o.observed_at) THEN 'added'
            ELSE 'restated' END AS fate
        FROM offered o LEFT JOIN readings f ON f.restates_id IS NULL
            AND (f.region, f.variable, f.observed_at) = (o.region, o.variable, o.observed_at)
    )
    SELECT count(*) FILTER (WHERE fate = 'added') AS added,
           count(*) FILTER (WHERE fate = 'restated') AS restated,
           cardinality(CAST(:region AS text[])) - count(*) FILTER (WHERE fate <> 'known') AS known,
           count(*) FILTER (WHERE fate <> 'known' AND EXISTS (
               SELECT FROM product_versions p WHERE p.variable = j.variable
                   AND (j.value < p.plausible_minimum OR j.value > p.plausible_maximum)
           )) AS implausible
    FROM judged j
    """
)
_DATES = text(
    """
    SELECT DISTINCT (observed_at AT TIME ZONE 'UTC')::date AS day FROM readings
    WHERE region = :region AND variable = :variable AND restates_id IS NULL ORDER BY day
    """
)


async def insert_readings(
    connection: AsyncConnection, readings: Sequence[NewReading], source: str
) -> StoredCounts:
    """Store readings that are not known; another value for a known instant is a restatement.

    Rows go in by their key, so that two imports of the same instants cannot deadlock. Of one
    instant offered twice the earlier in the sequence is the first known.
    """
    parameters = {**_columns_of(readings), "source": source}
    added = list(await connection.scalars(_INSERT_FIRST, parameters))
    restated: list[int] = []
    if len(added) < len(readings):
        restated = list(await connection.scalars(_INSERT_RESTATEMENTS, parameters))
    await quarantine(connection, reading_ids=[*added, *restated])
    known = len(readings) - len(added) - len(restated)
    implausible = await connection.scalar(_COUNT_QUARANTINED, {"ids": [*added, *restated]})
    return StoredCounts(len(added), len(restated), known, implausible or 0)


async def preview_readings(
    connection: AsyncConnection, readings: Sequence[NewReading]
) -> StoredCounts:
    """What `insert_readings` would do; nothing is stored."""
    row = (await connection.execute(_PREVIEW, _columns_of(readings))).one()
    return StoredCounts(row.added, row.restated, row.known, row.implausible)


def _columns_of(readings: Sequence[NewReading]) -> dict[str, list[object]]:
    return {
        name: [getattr(reading, name) for reading in readings]
        for name in NewReading.__dataclass_fields__
    }


async def quarantine(
    connection: AsyncConnection,
    *,
    product_version_id: int | None = None,
    reading_ids: Sequence[int] | None = None,
) -> int:
    """Note the readings that the known terms do not believe, of these terms or these readings.

    The note is for people. Whether a reading triggers is decided from the terms, each time.
    """
    found = await connection.execute(
        _QUARANTINE, {"product_version_id": product_version_id, "reading_ids": reading_ids}
    )
    return found.rowcount


async def readings_between(
    connection: AsyncConnection,
    region: str,
    variable: str,
    starts_at: datetime,
    ends_at: datetime,
) -> list[Reading]:
    """The readings that count, from ``starts_at`` up to, not including, ``ends_at``."""
    rows = await connection.execute(
        select(StoredReading.id, StoredReading.observed_at, StoredReading.value)
        .where(
            StoredReading.region == region,
            StoredReading.variable == variable,
            StoredReading.observed_at >= starts_at,
            StoredReading.observed_at < ends_at,
            StoredReading.restates_id.is_(None),
        )
        .order_by(StoredReading.observed_at)
    )
    return [Reading(row.id, row.observed_at, row.value) for row in rows]


async def reading_dates(connection: AsyncConnection, region: str, variable: str) -> list[date]:
    """The dates of UTC on which readings lie, in rising order."""
    dates = await connection.scalars(_DATES, {"region": region, "variable": variable})
    return list(dates)
