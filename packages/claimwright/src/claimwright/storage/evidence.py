"""Evidence: the readings an event was made from, and what was said of them later."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.index import Reading

_READINGS = text("SELECT id, observed_at, value FROM readings WHERE id = ANY(:ids)")
_RESTATED = text(
    "SELECT restates_id, value FROM readings WHERE restates_id = ANY(:ids) ORDER BY id"
)


async def readings_by_id(
    connection: AsyncConnection, reading_ids: Sequence[int]
) -> dict[int, Reading]:
    """These readings, as they were stored first."""
    rows = await connection.execute(_READINGS, {"ids": list(reading_ids)})
    return {row.id: Reading(row.id, row.observed_at, row.value) for row in rows}


async def restated_values(
    connection: AsyncConnection, reading_ids: Sequence[int]
) -> dict[int, list[Decimal]]:
    """Other values that became known for these readings later, in order of arrival."""
    restated: dict[int, list[Decimal]] = {}
    for row in await connection.execute(_RESTATED, {"ids": list(reading_ids)}):
        restated.setdefault(row.restates_id, []).append(row.value)
    return restated
