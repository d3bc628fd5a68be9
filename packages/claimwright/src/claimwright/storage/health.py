"""What a database says of itself: version, durability, limits, clock, and rights of the role."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")
_SETTINGS = (
    "server_version",
    "server_version_num",
    *DURABILITY,
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
)
_READ_SETTINGS = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
_ROLE = text(
    """
    SELECT current_user AS name, rolsuper AS is_superuser,
        (SELECT count(*) FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
           AND pg_has_role(c.relowner, 'MEMBER')) AS owned_tables
    FROM pg_roles WHERE rolname = current_user
    """
)
# What nobody who calculates needs, whatever a table is here for.
_EXCESS = text(
    """
    WITH tables AS (
        SELECT oid, relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r')
    SELECT kind || ' on ' || relname AS excess
    FROM tables, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS kind
    WHERE has_table_privilege(oid, kind)
    UNION ALL
    SELECT 'UPDATE (' || attname || ') on ' || relname
    FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
    WHERE has_column_privilege(oid, attname, 'UPDATE')
      AND relname || '.' || attname NOT IN (
        'claims.status', 'policies.last_day', 'policies.cancelled_on', 'risk_events.note',
        'work_requests.finished_generation', 'work_requests.finished_at',
        'work_requests.handed_on_generation', 'work_requests.handed_on_at',
        'work_requests.attempted_generation', 'work_requests.attempts',
        'work_requests.attempted_at', 'work_requests.dead_generation', 'work_requests.failure')
      AND relname NOT IN ('work_chunks', 'evaluated_groups')
    UNION ALL
    SELECT 'INSERT on ' || relname FROM tables
    WHERE relname IN ('policy_accounts', 'period_accounts', 'claim_transitions')
      AND has_any_column_privilege(oid, 'INSERT')
    ORDER BY 1
    """
)
_OFFSETS = text(
    """
    SELECT z.name, i.instant,
        extract(epoch FROM (i.instant AT TIME ZONE z.name) - (i.instant AT TIME ZONE 'UTC'))::int
            AS offset_seconds
    FROM pg_timezone_names z, unnest(CAST(:instants AS timestamptz[])) AS i (instant)
    WHERE z.name = ANY(:zones)
    """
)


@dataclass(frozen=True, slots=True)
class Role:
    """The role that the engine connects as.

    Attributes:
        owned_tables: tables that it, or a role it is a member of, owns.
        excess: rights that it has and must not have.
    """

    name: str
    is_superuser: bool
    owned_tables: int
    excess: Sequence[str]


async def read_settings(connection: AsyncConnection) -> dict[str, str]:
    """The settings in force in this session; times in milliseconds."""
    rows = await connection.execute(_READ_SETTINGS, {"names": list(_SETTINGS)})
    return {row.name: row.setting for row in rows}


async def read_clock(connection: AsyncConnection) -> datetime:
    """The server's clock, now."""
    now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return now


async def read_role(connection: AsyncConnection) -> Role:
    """Who the engine is to the database, and what it could do beyond its work."""
    row = (await connection.execute(_ROLE)).one()
    excess = list(await connection.scalars(_EXCESS))
    return Role(row.name, row.is_superuser, row.owned_tables, excess)


async def zones_in_use(connection: AsyncConnection, *, most: int) -> list[str]:
    """Zones in which policies are held, the first so many."""
    query = text("SELECT DISTINCT zone FROM policies ORDER BY zone LIMIT :most")
    return list(await connection.scalars(query, {"most": most}))


async def zone_offsets(
    connection: AsyncConnection, zones: Sequence[str], instants: Sequence[datetime]
) -> dict[tuple[str, datetime], int]:
    """Offsets from UTC in seconds by the server's own zone data; unknown zones are not there."""
    parameters = {"zones": list(zones), "instants": list(instants)}
    rows = await connection.execute(_OFFSETS, parameters)
    return {(row.name, row.instant): row.offset_seconds for row in rows}
