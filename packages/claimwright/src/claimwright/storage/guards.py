"""The guards that the migrations put up: which there have to be, and which there are."""

from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_MIGRATIONS = Path(__file__).with_name("migrations") / "versions"
_KEPT = (
    "claims",
    "event_withdrawals",
    "known_currencies",
    "known_zones",
    "policies",
    "product_versions",
    "quarantined_readings",
    "readings",
    "risk_events",
    "variable_units",
)


class Guard(NamedTuple):
    """A trigger of a table."""

    table: str
    trigger: str


#: Every trigger of the newest schema; each fires ALWAYS, whatever the session's replication role.
GUARDS: Final = frozenset(
    {
        *(Guard(table, f"{table}_keep") for table in _KEPT),
        *(Guard(table, f"{table}_keep_all") for table in _KEPT),
        *(Guard(table, f"{table}_immutable") for table in _KEPT),
        Guard("claim_transitions", "claim_transitions_immutable"),
        Guard("claims", "claims_admitted"),
        Guard("claims", "claims_moved"),
        Guard("claims", "claims_void_requests"),
        Guard("event_withdrawals", "event_withdrawals_requests"),
        Guard("period_accounts", "period_accounts_guarded"),
        Guard("policies", "policies_accounts"),
        Guard("policies", "policies_days"),
        Guard("policies", "policies_names"),
        Guard("policies", "policies_requests"),
        Guard("policies", "policies_update_requests"),
        Guard("policy_accounts", "policy_accounts_guarded"),
        Guard("product_versions", "product_versions_unit"),
        Guard("readings", "readings_requests"),
        Guard("readings", "readings_restate"),
        Guard("risk_events", "risk_events_requests"),
        Guard("risk_events", "risk_events_tier"),
        Guard("work_chunks", "work_chunks_keep"),
        Guard("work_chunks", "work_chunks_keep_all"),
        Guard("work_requests", "work_requests_notice"),
    }
)

_STANDING = text(
    """
    SELECT c.relname, t.tgname, t.tgenabled = 'A' AS always
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
    """
)
_BODIES = text(
    """
    SELECT proname, prosrc FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND prokind = 'f' ORDER BY proname
    """
)


async def standing_guards(connection: AsyncConnection) -> dict[Guard, bool]:
    """Every trigger of the schema's tables, and whether it always fires."""
    rows = await connection.execute(_STANDING)
    return {Guard(row.relname, row.tgname): row.always for row in rows}


async def strange_functions(connection: AsyncConnection) -> list[str]:
    """Functions of the schema whose bodies are in no migration: somebody replaced or added them."""
    known = "".join(path.read_text(encoding="utf-8") for path in _MIGRATIONS.glob("*.sql"))
    rows = await connection.execute(_BODIES)
    return [row.proname for row in rows if f"$${row.prosrc}$$" not in known]
