"""What a statement touches, as the server plans it: which tables, or which one row of them.

The server is asked once per text, on a connection of the kit's own, for the locks that planning
takes and for a plan in which indexes are used wherever they can be. That a condition names all
columns of a unique index is then true of the statement, whatever plan a worker's connection uses.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from contention.model.footprints import NOTHING, Footprint, Mode, Resource
from contention.wire.catalogue import Catalogue, TableFacts
from contention.wire.row_keys import RowKey, row_key
from contention.wire.sql_words import is_shown, locks_rows_alone, may_set, words_of
from contention.wire.table_locks import is_row_lock, only_reads, touches_of_lock

if TYPE_CHECKING:
    from typing import TypeAlias

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_KEPT_TEXTS: Final = 2_000
_ATTEMPTS: Final = 3
_NAME: Final = "contention_plan"
_BEGIN: Final = f"""
    BEGIN;
    SET LOCAL lock_timeout = '10ms';
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_tidscan = off;
    SET LOCAL plan_cache_mode = force_generic_plan;
    PREPARE {_NAME}"""
_EXPLAIN: Final = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) EXECUTE {_NAME}"
_LOCKED: Final = """
    SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, l.mode
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.oid >= 16384
        AND c.relkind NOT IN ('i', 'I', 't')
    """
_PARAMETER: Final = re.compile(r"\$([0-9]+)")
_SYSTEM_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema"})
_OUTSIDE: Final = frozenset({"Foreign Scan", "Custom Scan"})
_GIVEN: Final = frozenset({"ModifyTable", "Result", "Values Scan"})
_INDEX_SCANS: Final = frozenset({"Index Scan", "Index Only Scan"})

Node = Mapping[str, Any]
Locks = Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a statement touches, but for the values of its parameters.

    Attributes:
        tables: all of it, by tables.
        is_whole: whether that is all; else locks on tables tell, once it is done.
        key: the one row that it locks or changes, when it touches nothing else.
        is_blind: whether it puts rows with given values into one table, and looks at nothing but
            their keys.
        has_filter: whether that row has to look a certain way too.
        again: what it touches beside a row that its transaction may have changed before: whether
            such a row's references still hold is checked, whatever was changed.
        read_keys: tables of which only such rows are read.
        output: the expressions of a statement that reads no table.
    """

    tables: Footprint
    is_whole: bool = True
    key: RowKey | None = None
    is_blind: bool = False
    has_filter: bool = False
    again: Footprint = NOTHING
    read_keys: Mapping[str, tuple[RowKey, ...]] = field(default_factory=dict)
    output: tuple[str, ...] = ()

    def footprint(self, parameters: Sequence[str]) -> Footprint:
        """What is touched with these parameters, by tables where rows have no certain name."""
        touches: list[tuple[Resource, Mode]] = []
        for resource, mode in self.tables.touches:
            rows = [key.resource(parameters) for key in self.read_keys.get(resource.name, ())]
            if rows and mode is Mode.READ and None not in rows:
                touches += [(row, mode) for row in rows if row is not None]
            else:
                touches.append((resource, mode))
        return Footprint(tuple(touches), self.tables.is_known)


class Plans:
    """Shapes of statements, for all runs from one start: each text is planned once."""

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._shapes: dict[tuple[str, tuple[int, ...]], Shape | None] = {}
        self._failed: dict[tuple[str, tuple[int, ...]], int] = {}

    async def catalogue(self, connection: "Connection") -> Catalogue:
        """What the database is made of, read from the first connection that asks."""
        if self._catalogue is None:
            self._catalogue = await Catalogue.read(connection)
        return self._catalogue

    async def shape(
        self, connection: "Connection", sql: str, type_oids: tuple[int, ...]
    ) -> Shape | None:
        """The shape of one statement; `None` when the server could not plan it.

        Args:
            connection: to the database of the run, in no transaction.
            sql: one statement, of which locks on tables tell all.
            type_oids: of its parameters, 0 where the server is to find out.
        """
        asked = (sql, type_oids)
        if asked in self._shapes:
            return self._shapes[asked]
        catalogue = await self.catalogue(connection)
        try:
            shape = await _planned(connection, catalogue, sql, type_oids)
        except asyncpg.PostgresError as error:
            self._failed[asked] = self._failed.get(asked, 0) + 1
            may_succeed = isinstance(error, asyncpg.LockNotAvailableError)
            if may_succeed and self._failed[asked] < _ATTEMPTS:
                return None
            shape = None
        if len(self._shapes) < _KEPT_TEXTS:
            self._shapes[asked] = shape
        return shape


async def _planned(
    connection: "Connection", catalogue: Catalogue, sql: str, type_oids: tuple[int, ...]
) -> Shape | None:
    types = ", ".join([await _type_name(connection, oid) for oid in type_oids])
    numbers = [int(number) for number in _PARAMETER.findall(sql)]
    nulls = ", ".join(["NULL"] * max([len(type_oids), *numbers]))
    try:
        await connection.execute(f"{_BEGIN}{f'({types})' if types else ''} AS {sql}")
        plan = json.loads(await connection.fetchval(_EXPLAIN + (f"({nulls})" if nulls else "")))
        locks = [(row["name"], row["kind"], row["mode"]) for row in await connection.fetch(_LOCKED)]
    finally:
        await connection.execute("ROLLBACK")
        with suppress(asyncpg.InvalidSQLStatementNameError):
            await connection.execute(f"DEALLOCATE {_NAME}")
    return _Planned(catalogue, sql, type_oids, plan[0]["Plan"], locks).shape()


async def _type_name(connection: "Connection", oid: int) -> str:
    if oid == 0:
        return "unknown"
    name = await connection.fetchval("SELECT format_type($1::oid, NULL)", oid)
    return str(name)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A statement with its plan and the locks that planning took."""

    catalogue: Catalogue
    sql: str
    type_oids: tuple[int, ...]
    plan: Node
    locks: Locks

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(_nodes(self.plan))

    def shape(self) -> Shape | None:
        """The shape; `None` when the statement looks at the server itself or at another one."""
        if any(self._is_outside(node) for node in self.nodes):
            return None
        tables, is_whole = self._tables()
        if not is_whole:
            is_single = not self.locks and len(self.nodes) == 1
            output = tuple(self.plan.get("Output", ())) if is_single else ()
            return Shape(tables, is_whole=False, output=output)
        if all(only_reads(mode) for _, _, mode in self.locks):
            return Shape(tables, read_keys=self._read_keys())
        return self._locking(tables)

    def _is_outside(self, node: Node) -> bool:
        function = node.get("Function Name")
        return (
            node["Node Type"] in _OUTSIDE
            or ("Relation Name" in node and node.get("Schema") in _SYSTEM_SCHEMAS)
            or (function is not None and function not in self.catalogue.shown)
        )

    def _tables(self) -> tuple[Footprint, bool]:
        """What is touched by tables, and whether that is all."""
        tables = Footprint(tuple(touch for lock in self.locks for touch in touches_of_lock(*lock)))
        is_whole = is_shown(self.sql, self.catalogue.harmless) and all(
            name in self.catalogue.tables and self.catalogue.tables[name].is_ordinary
            for name, _, _ in self.locks
        )
        changes = [node for node in self.nodes if "Operation" in node]
        is_insert = all(_is_insert(node) for node in changes)
        for name, _, mode in self.locks if changes else ():
            if is_row_lock(mode):
                beside, is_all = self.catalogue.touched_by_writing(name, is_insert=is_insert)
                is_whole = is_whole and is_all
                tables = tables.joined([self._beside(other) for other in sorted(beside)])
        return tables, is_whole

    def _beside(self, name: str) -> Footprint:
        """What is touched of a table or sequence that is written along with another."""
        kind = self.catalogue.tables[name].kind if name in self.catalogue.tables else "S"
        return Footprint(touches_of_lock(name, kind, "RowExclusiveLock"))

    def _read_keys(self) -> dict[str, tuple[RowKey, ...]]:
        """The rows that are read, of tables of which every scan names one."""
        if len({_bare(name) for name, _, _ in self.locks}) < len(self.locks):
            return {}  # the plan's names do not tell them apart
        found = {}
        for name, _, _ in self.locks:
            scans = [node for node in self.nodes if node.get("Relation Name") == _bare(name)]
            keys = [self._key_of_scan(name, node) for node in scans]
            if keys and None not in keys:
                found[f"table {name}"] = tuple(key for key in keys if key is not None)
        return found

    def _locking(self, tables: Footprint) -> Shape:
        """The shape of a statement that locks or changes rows, maybe one alone."""
        if self._is_blind():
            return Shape(tables, is_blind=True)
        children = self.plan.get("Plans", ())
        if len(self.locks) != 1 or len(children) != 1 or "Plans" in children[0]:
            return Shape(tables)
        facts = self.catalogue.tables[self.locks[0][0]]
        if not locks_rows_alone(self.sql) or not self._keeps_its_key(facts):
            return Shape(tables)
        changes = self.plan.get("Operation") == "Update"
        parents = [self._beside(parent) for parent in facts.parents] if changes else []
        return Shape(
            tables,
            key=self._key_of_scan(facts.name, children[0]),
            has_filter="Filter" in children[0],
            again=NOTHING.joined(parents),
        )

    def _is_blind(self) -> bool:
        is_given = all(node["Node Type"] in _GIVEN for node in self.nodes)
        return (
            is_given
            and self.plan.get("Operation") == "Insert"
            and len(self.locks) == 1
            and not self.catalogue.tables[self.locks[0][0]].has_odd_keys
        )

    def _keeps_its_key(self, facts: TableFacts) -> bool:
        """Whether the row is only locked, or changed in no column by which rows are found."""
        if self.plan["Node Type"] == "LockRows":
            return True
        if self.plan.get("Operation") == "Update":
            draws = bool(facts.sequences) and "default" in words_of(self.sql)
            return not (facts.has_odd_keys or draws or may_set(self.sql, facts.key_columns))
        return self.plan.get("Operation") == "Delete" and not facts.children

    def _key_of_scan(self, table: str, node: Node) -> RowKey | None:
        if node["Node Type"] not in _INDEX_SCANS:
            return None
        index = self.catalogue.unique_indexes.get((node.get("Schema", ""), node["Index Name"]))
        return row_key(table, index, node.get("Index Cond", ""), self.type_oids) if index else None


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _is_insert(node: Node) -> bool:
    return node["Operation"] == "Insert" and node.get("Conflict Resolution") != "UPDATE"


def _bare(name: str) -> str:
    """A table's name without its schema and quotes."""
    if name.endswith('"'):
        return re.split(r'(?<!")"(?!")', name[:-1])[-1].replace('""', '"')
    return name.rpartition(".")[2]
