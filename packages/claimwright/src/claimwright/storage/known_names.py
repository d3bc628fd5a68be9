"""Zones and currencies that the database knows: those of the rules, kept where psql meets them too.

A name that the rules drop stays known here; the policies that have it are unusable.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import zone_names
from claimwright.domain.money import currency_codes

_ADD_ZONES = text(
    "INSERT INTO known_zones SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING"
)
_ADD_CURRENCIES = text(
    "INSERT INTO known_currencies SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING"
)
_MISSING = text(
    """
    (SELECT unnest(CAST(:currencies AS text[])) AS name EXCEPT SELECT code FROM known_currencies)
    UNION ALL
    (SELECT unnest(CAST(:zones AS text[])) EXCEPT SELECT name FROM known_zones)
    ORDER BY 1
    """
)


async def add_known_names(connection: AsyncConnection) -> None:
    """Let the database know every zone and currency that this version's rules know."""
    await connection.execute(_ADD_ZONES, {"names": sorted(zone_names())})
    await connection.execute(_ADD_CURRENCIES, {"names": sorted(currency_codes())})


async def names_not_known(connection: AsyncConnection) -> list[str]:
    """Zones and currencies that this version's rules know and the database refuses."""
    names = {"zones": sorted(zone_names()), "currencies": sorted(currency_codes())}
    return list(await connection.scalars(_MISSING, names))
