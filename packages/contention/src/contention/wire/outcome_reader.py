"""Reads what a run left behind, from the servers themselves."""

import fnmatch
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from contention.model.outcomes import Table

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg
    from redis.asyncio import Redis

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

KIT_SCHEMA: Final = "contention_kit"
"""The schema that the kit keeps its own tables in; it is no part of an outcome."""

# A column's default tells how its values are made. What a value is drawn from is its kind: two
# columns that draw from one sequence share it, and all clocks are one.
_COLUMNS = """
    SELECT format('%I.%I', n.nspname, c.relname) AS table_name, a.attname AS column_name,
           a.attnum AS position, c.oid AS table_oid,
           a.attidentity <> '' AS is_identity,
           pg_get_expr(d.adbin, d.adrelid) AS default_sql,
           pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) AS sequence
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', $1)
      AND n.nspname NOT LIKE 'pg\\_t%'
    ORDER BY table_name, position
    """
_REFERENCES = """
    SELECT conrelid AS table_oid, confrelid AS target_oid, conkey AS columns, confkey AS targets
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
    """
_CLOCKS: Final = (
    "now()",
    "current_timestamp",
    "localtimestamp",
    "current_date",
    "current_time",
    "localtime",
    "clock_timestamp()",
    "statement_timestamp()",
    "transaction_timestamp()",
    "timeofday()",
)
_UUIDS: Final = ("gen_random_uuid()", "uuid_generate_v", "uuidv4(", "uuidv7(")


class UnknownNameError(ValueError):
    """Something that is to be left out is no table and no column."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How to read a table.

    Attributes:
        name: with its schema, as SQL writes it.
        columns: those that are read.
        generated: the kind of value by generated column.
    """

    name: str
    columns: tuple[str, ...]
    generated: Mapping[str, str]

    def query(self) -> str:
        """All rows, every value as text; text is exact, compares and hashes for every type."""
        columns = ", ".join(f"{_quoted(column)}::text" for column in self.columns)
        return f"SELECT {columns} FROM {self.name}"  # noqa: S608 - names come from the catalogue


async def plan_tables(connection: "Connection", leave_out: Collection[str]) -> list[TablePlan]:
    """How to read each table of a database.

    Args:
        connection: on the database.
        leave_out: tables, as ``orders`` or ``shop.orders``, and columns, as ``orders.created_at``
            or ``shop.orders.created_at``; ``public`` need not be said.

    Raises:
        UnknownNameError: one of them does not exist.
    """
    rows = await connection.fetch(_COLUMNS, KIT_SCHEMA)
    kinds = _kinds(rows, await connection.fetch(_REFERENCES))
    columns: dict[str, list[str]] = defaultdict(list)
    missed = set(leave_out)
    for row in rows:
        table = row["table_name"].removeprefix("public.")
        names = {table, f"public.{table}"}
        names |= {f"{name}.{row['column_name']}" for name in names}
        missed -= names
        if not names & set(leave_out):
            columns[row["table_name"]].append(row["column_name"])
    if missed:
        raise UnknownNameError(f"there is no table or column {', '.join(sorted(missed))}")
    return [
        TablePlan(name, tuple(found), {c: kinds[name, c] for c in found if (name, c) in kinds})
        for name, found in columns.items()
    ]


async def read_tables(connection: "Connection", plans: Collection[TablePlan]) -> dict[str, Table]:
    """The rows of the tables, by name; ``public`` is not said."""
    tables = {}
    for plan in plans:
        rows = tuple(tuple(row.values()) for row in await connection.fetch(plan.query()))
        tables[plan.name.removeprefix("public.")] = Table(plan.columns, rows, plan.generated)
    return tables


async def read_keys(client: "Redis", leave_out: Collection[str]) -> dict[str, object]:
    """What each key holds and whether it will expire, by name.

    Args:
        client: of one database.
        leave_out: patterns of names, as in ``lock:*``.
    """
    keys: dict[str, object] = {}
    for raw in sorted(map(_as_bytes, await client.keys("*"))):
        name = raw.decode("utf-8", "backslashreplace")
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in leave_out):
            continue
        held = await _held(client, raw)
        if held is not None:
            keys[name] = (held, await client.pttl(raw) >= 0)
    return keys


async def _held(client: "Redis", name: bytes) -> object:
    readers: dict[bytes, Any] = {
        b"string": lambda: client.get(name),
        b"list": lambda: client.lrange(name, 0, -1),
        b"set": lambda: client.smembers(name),
        b"zset": lambda: client.zrange(name, 0, -1, withscores=True),
        b"hash": lambda: client.hgetall(name),
        b"stream": lambda: client.xrange(name),
    }
    kind = _as_bytes(await client.type(name))
    if kind == b"none":
        return None
    read = readers.get(kind, lambda: client.dump(name))
    return kind.decode(), _frozen(await read(), is_stream=kind == b"stream")


def _as_bytes(name: bytes | str) -> bytes:
    """A name that the server returned; the client decodes none, whatever its types allow."""
    return name if isinstance(name, bytes) else name.encode()


def _frozen(held: Any, *, is_stream: bool) -> object:  # noqa: ANN401 - whatever a client returns
    if is_stream:  # a stream's ids are made by the server's clock
        return tuple(tuple(sorted(fields.items())) for _, fields in held)
    if isinstance(held, dict):
        return frozenset(held.items())
    if isinstance(held, set):
        return frozenset(held)
    if isinstance(held, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in held)
    return held


def _kinds(
    columns: "list[asyncpg.Record]", references: "list[asyncpg.Record]"
) -> dict[tuple[str, str], str]:
    """The kind of value of each generated column, and of those that refer to one."""
    names = {(row["table_oid"], row["position"]): row for row in columns}
    kinds: dict[tuple[int, int], str] = {}
    for key, row in names.items():
        kind = _kind(row)
        if kind:
            kinds[key] = kind
    pairs = list(_reference_pairs(references))
    for _ in range(len(pairs)):  # a chain of references is at most as long as there are any
        for source, target in pairs:
            if target in kinds and source in names:
                kinds.setdefault(source, kinds[target])
    return {
        (names[key]["table_name"], names[key]["column_name"]): kind for key, kind in kinds.items()
    }


def _reference_pairs(
    references: "list[asyncpg.Record]",
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for row in references:
        for column, target in zip(row["columns"], row["targets"], strict=True):
            yield (row["table_oid"], column), (row["target_oid"], target)


def _kind(row: "asyncpg.Record") -> str:
    default = (row["default_sql"] or "").lower()
    if "nextval(" in default:
        return default
    if row["is_identity"]:
        return f"identity {row['sequence']}"
    if any(word in default for word in _UUIDS):
        return "uuid"
    if any(word in default for word in _CLOCKS):
        return "clock"
    return ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
