"""Reads what a run left behind, from the servers themselves."""

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
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


_TABLES_AT_ONCE: Final = 50


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

    def query(self, number: int) -> str:
        """All rows, with a number, and every value as text.

        Text is exact, compares and hashes for every type.
        """
        columns = ", ".join(f"{_quoted(column)}::text" for column in self.columns)
        return f"SELECT {number}, ARRAY[{columns}]::text[] FROM {self.name}"  # noqa: S608 - names come from the catalogue


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
        if row["column_name"] is not None:
            names |= {f"{name}.{row['column_name']}" for name in names}
        missed -= names
        if not names & set(leave_out):
            columns[row["table_name"]] += [row["column_name"]] if row["column_name"] else []
    if missed:
        raise UnknownNameError(f"there is no table or column {', '.join(sorted(missed))}")
    return [
        TablePlan(name, tuple(found), {c: kinds[name, c] for c in found if (name, c) in kinds})
        for name, found in columns.items()
    ]


async def read_tables(connection: "Connection", plans: Sequence[TablePlan]) -> dict[str, Table]:
    """The rows of the tables, by name; ``public`` is not said."""
    rows: list[list[tuple[str, ...]]] = [[] for _ in plans]
    for begin in range(0, len(plans), _TABLES_AT_ONCE):
        some = enumerate(plans[begin : begin + _TABLES_AT_ONCE], begin)
        query = " UNION ALL ".join(plan.query(number) for number, plan in some)
        for number, values in await connection.fetch(query):
            rows[number].append(tuple(values))
    return {
        plan.name.removeprefix("public."): Table(plan.columns, tuple(found), plan.generated)
        for plan, found in zip(plans, rows, strict=True)
    }


async def read_keys(client: "Redis", leave_out: Collection[str]) -> dict[str, object]:
    """What each key holds and whether it will expire, by name.

    Args:
        client: of one database.
        leave_out: patterns of names, as in ``lock:*``.
    """
    named = ((_shown(raw), raw) for raw in sorted(map(_as_bytes, await client.keys("*"))))
    wanted = {
        name: raw
        for name, raw in named
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in leave_out)
    }
    kinds = [_as_bytes(kind) for kind in await _asked(client, "type", wanted.values())]
    held = await _held(client, list(zip(wanted.values(), kinds, strict=True)))
    left_ms = await _asked(client, "pttl", wanted.values())
    found = zip(wanted, kinds, held, left_ms, strict=True)
    return {
        name: ((kind.decode(), value), left >= 0)
        for name, kind, value, left in found
        if kind != b"none"
    }


async def _asked(client: "Redis", command: str, keys: Collection[bytes]) -> list[Any]:
    """A command's answer for each key."""
    if not keys:
        return []
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        getattr(pipeline, command)(key)
    return await pipeline.execute()


async def _held(client: "Redis", keys: Sequence[tuple[bytes, bytes]]) -> list[object]:
    """What each key holds, by its kind."""
    if not keys:
        return []
    pipeline = client.pipeline(transaction=False)
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": pipeline.get,
        b"list": lambda name: pipeline.lrange(name, 0, -1),
        b"set": pipeline.smembers,
        b"zset": lambda name: pipeline.zrange(name, 0, -1, withscores=True),
        b"hash": pipeline.hgetall,
        b"stream": pipeline.xrange,
    }
    for name, kind in keys:
        readers.get(kind, pipeline.dump)(name)
    values = await pipeline.execute()
    return [
        _frozen(value, is_stream=kind == b"stream")
        for (_, kind), value in zip(keys, values, strict=True)
    ]


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


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
