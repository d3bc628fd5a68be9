"""Reads what a database holds: everything that `restore_plan` puts back."""

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from contention.wire.restore_plan import Plan, SequenceStart, Table

if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Record: TypeAlias = asyncpg.Record

MOST_VALUES_ROWS: Final = 200
"""More rows than that are put back by COPY."""
MOST_COPIED_BYTES: Final = 64 * 2**20
"""A larger table is not kept in memory."""
_MOST_COLUMNS: Final = 99
"""PostgreSQL's FUNC_MAX_ARGS, less the format."""
_FIRST_USER_OID: Final = 16384

# As pg_dump does: every value can be read back as it was.
SETTINGS: Final = {
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "row_security": "off",
    "synchronize_seqscans": "off",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "error",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "track_counts": "on",
    "stats_fetch_consistency": "none",
}

_TABLES: Final = f"""
    SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
           coalesce(pg_relation_size(c.oid), 0) AS bytes,
           ARRAY(SELECT attname::text FROM pg_attribute
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                 ORDER BY attnum) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND c.oid >= {_FIRST_USER_OID}
    ORDER BY c.oid
    """  # noqa: S608 - a constant
_SEQUENCES: Final = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' ORDER BY c.oid
    """
# Whoever refers to a table is emptied with it, and so are a partitioned table's partitions.
_DRAGGED: Final = """
    SELECT confrelid::int8 AS number, conrelid::int8 AS dragged FROM pg_constraint
    WHERE contype = 'f' AND confrelid <> conrelid
    UNION
    SELECT inhparent::int8, inhrelid::int8 FROM pg_inherits
    JOIN pg_class ON pg_class.oid = inhparent WHERE relkind = 'p'
    """
# What also fires while the kit puts rows back.
_OBSTACLES: Final = """
    SELECT format('trigger %I of %s always fires', tgname, tgrelid::regclass) AS obstacle
    FROM pg_trigger WHERE tgenabled IN ('A', 'R')
    UNION ALL
    SELECT format('rule %I of %s always fires', rulename, ev_class::regclass)
    FROM pg_rewrite WHERE ev_enabled IN ('A', 'R')
    UNION ALL
    SELECT format('check %I of %s is not valid for all rows', conname, conrelid::regclass)
    FROM pg_constraint WHERE contype = 'c' AND NOT convalidated AND conrelid <> 0
    LIMIT 1
    """
# Of the tables that belong to the whole server, those that change what a worker may or sees.
_CATALOGS: Final = """
    SELECT c.oid::int8 AS oid, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('pg_catalog', 'information_schema')
      AND (NOT c.relisshared OR c.relname IN
           ('pg_authid', 'pg_auth_members', 'pg_db_role_setting', 'pg_parameter_acl'))
    ORDER BY c.oid
    """


async def read_plan(connection: "Connection") -> tuple[Plan, tuple[int, ...]]:
    """What the database holds, and the numbers of the system tables to watch."""
    catalogs = await connection.fetch(_CATALOGS)
    found = await connection.fetch(_TABLES)
    tables = [await _table(connection, row) for row in found]
    obstacle = await connection.fetchval(_OBSTACLES)
    plan = Plan(
        tuple(row["name"] for row in catalogs),
        tuple(tables),
        tuple(await _sequences(connection)),
        await _dragged(connection),
        obstacle or "",
    )
    return plan, tuple(row["oid"] for row in catalogs)


def sequence_state(name: str) -> str:
    """A query of a sequence's state, as `SequenceStart` has it."""
    return f"SELECT concat(last_value, ':', is_called) FROM {name}"  # noqa: S608 - the catalogue's name


async def _table(connection: "Connection", row: "Record") -> Table:
    columns = tuple(row["columns"])
    bare = Table(row["oid"], row["schema"], row["name"], row["kind"], columns)
    if bare.kind == "p":
        return bare
    if bare.kind == "m" or row["bytes"] > MOST_COPIED_BYTES:
        return replace(bare, is_kept=False)
    if not row["bytes"]:
        return bare
    rows = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM ONLY {bare.name} LIMIT {MOST_VALUES_ROWS + 1}) AS few"  # noqa: S608 - the catalogue's name
    )
    if rows > MOST_VALUES_ROWS or not 0 < len(columns) <= _MOST_COLUMNS:
        return replace(bare, copied=await _copied(connection, bare))
    pattern = ", ".join(["%L"] * len(columns))
    values = await connection.fetch(
        f"SELECT format('({pattern})', {bare.column_list}) FROM ONLY {bare.name} ORDER BY ctid"  # noqa: S608 - the catalogue's names
    )
    return replace(bare, values=tuple(one[0] for one in values))


async def _copied(connection: "Connection", table: Table) -> bytes:
    into = io.BytesIO()
    rows = f"SELECT {table.column_list} FROM ONLY {table.name} ORDER BY ctid"  # noqa: S608 - the catalogue's names
    await connection.copy_from_query(rows, output=into)
    return into.getvalue()


async def _sequences(connection: "Connection") -> list[SequenceStart]:
    names = [row["name"] for row in await connection.fetch(_SEQUENCES)]
    return [SequenceStart(name, await connection.fetchval(sequence_state(name))) for name in names]


async def _dragged(connection: "Connection") -> dict[int, frozenset[int]]:
    edges: dict[int, set[int]] = {}
    for row in await connection.fetch(_DRAGGED):
        edges.setdefault(row["number"], set()).add(row["dragged"])
    return {number: frozenset(others) for number, others in edges.items()}
