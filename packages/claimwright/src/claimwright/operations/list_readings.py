"""List readings: all of them, the restatements, or the quarantined ones."""

from datetime import date

from claimwright.domain.calendar import local_day_span, zone_named
from claimwright.domain.errors import InvalidInputError
from claimwright.operations.transactions import transaction
from claimwright.runtime import Runtime
from claimwright.storage import listed_readings
from claimwright.storage.listed_readings import (
    ListedQuarantine,
    ListedReading,
    ListedRestatement,
    ReadingsFilter,
)
from claimwright.storage.pages import Page, checked_limit


async def list_readings(
    runtime: Runtime, wanted: ReadingsFilter, *, limit: int, after_id: int | None = None
) -> Page[ListedReading]:
    """A page of readings by region, variable and time; restatements follow what they restate.

    Raises:
        InvalidInputError: the limit is out of bounds.
    """
    async with transaction(runtime) as connection:
        return await listed_readings.list_readings(
            connection, wanted, limit=checked_limit(limit), after_id=after_id
        )


async def list_restatements(
    runtime: Runtime, wanted: ReadingsFilter, *, limit: int, after_id: int | None = None
) -> Page[ListedRestatement]:
    """A page of the values that came for instants whose value was known, in the order they came.

    Raises:
        InvalidInputError: the limit is out of bounds.
    """
    async with transaction(runtime) as connection:
        return await listed_readings.list_restatements(
            connection, wanted, limit=checked_limit(limit), after_id=after_id
        )


async def list_quarantined(
    runtime: Runtime, wanted: ReadingsFilter, *, limit: int, after_id: int | None = None
) -> Page[ListedQuarantine]:
    """A page of the readings that some product does not believe, in the order they came.

    Raises:
        InvalidInputError: the limit is out of bounds.
    """
    async with transaction(runtime) as connection:
        return await listed_readings.list_quarantined(
            connection, wanted, limit=checked_limit(limit), after_id=after_id
        )


def readings_filter(
    *,
    region: str | None = None,
    variable: str | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    zone: str = "UTC",
) -> ReadingsFilter:
    """The readings from a first to a last day of a zone, both included.

    Raises:
        InvalidInputError: no such zone, a day that does not exist in it, or the first day lies
            after the last.
    """
    zone_named(zone)
    if first_day and last_day and first_day > last_day:
        raise InvalidInputError(f"the first day {first_day} lies after the last {last_day}")
    spans = [local_day_span(day, zone) if day else None for day in (first_day, last_day)]
    for day, span in zip((first_day, last_day), spans, strict=True):
        if day and span is None:
            raise InvalidInputError(f"{day} does not exist in {zone}")
    starts, ends = spans
    return ReadingsFilter(
        region, variable, starts.starts_at if starts else None, ends.ends_at if ends else None
    )
