"""Units: a variable has one for ever, whether readings or terms named it first. Append-only.

Readings carry no unit of their own, so that two units of one variable would settle on wrong values.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_INSERT = text(
    """
    INSERT INTO variable_units (variable, unit)
    SELECT variable, unit FROM unnest(CAST(:variables AS text[]), CAST(:units AS text[]))
        AS n (variable, unit)
    ORDER BY variable
    ON CONFLICT DO NOTHING
    """
)
_READ = text("SELECT variable, unit FROM variable_units WHERE variable = ANY(:variables)")


async def settle_units(connection: AsyncConnection, units: Mapping[str, str]) -> None:
    """Give variables that have no unit theirs; those that have one keep it.

    It waits for whoever gives one of them a unit at the same time; a later statement says which.
    """
    await connection.execute(_INSERT, {"variables": list(units), "units": list(units.values())})


async def units_of(connection: AsyncConnection, variables: Sequence[str]) -> dict[str, str]:
    """The units of those variables that have one."""
    rows = await connection.execute(_READ, {"variables": list(variables)})
    return {row.variable: row.unit for row in rows}
