"""What a database is made of, as far as it decides what a statement can touch.

Read once from the state in which every run begins; whoever changes it makes the rest of a run
unknown.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from contention.wire.hidden_words import handles_errors, limits_waits, stops_counting
from contention.wire.sql_words import HARMLESS, calls, sets_a_setting, words_of

if TYPE_CHECKING:
    import asyncpg

_SYSTEM_SCHEMAS: Final = "('pg_catalog', 'information_schema', 'pg_toast')"
_BUILT_IN: Final = """
    SELECT proname::text AS name, bool_and(provolatile = 'i') AS is_immutable FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND oid < 16384 GROUP BY proname
    """
_FUNCTIONS: Final = """
    SELECT p.proname::text AS name, p.oid, l.lanname::text AS language, p.prokind::text AS kind,
        coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS body,
        coalesce(p.proconfig, '{}') AS settings
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.oid >= 16384
    """
_OPAQUE: Final = """
    SELECT EXISTS (SELECT FROM pg_constraint WHERE condeferrable)
        OR EXISTS (SELECT FROM pg_rewrite WHERE oid >= 16384 AND rulename <> '_RETURN')
        OR EXISTS (SELECT FROM pg_policy)
        OR EXISTS (
            SELECT FROM pg_operator o WHERE o.oid >= 16384 AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_operator'::regclass AND objid = o.oid
                    AND deptype = 'e'))
        OR EXISTS (
            SELECT FROM pg_cast c WHERE c.oid >= 16384 AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = c.oid
                    AND deptype = 'e'))
    """
_EXPRESSIONS: Final = f"""
    SELECT pg_get_expr(adbin, adrelid) AS text, true AS is_default FROM pg_attrdef
    UNION ALL SELECT pg_get_constraintdef(oid), false FROM pg_constraint
        WHERE contype = 'c' AND oid >= 16384
    UNION ALL SELECT pg_get_expr(indexprs, indrelid), false FROM pg_index
        WHERE indexrelid >= 16384 AND indexprs IS NOT NULL
    UNION ALL SELECT pg_get_expr(indpred, indrelid), false FROM pg_index
        WHERE indexrelid >= 16384 AND indpred IS NOT NULL
    UNION ALL SELECT definition, false FROM pg_views WHERE schemaname NOT IN {_SYSTEM_SCHEMAS}
    """  # noqa: S608 - the schemas are a constant
_SETTINGS: Final = """
    SELECT current_setting('default_transaction_isolation') AS isolation,
        current_user::text AS name,
        current_setting('standard_conforming_strings') = 'on' AND NOT EXISTS (
            SELECT FROM pg_settings WHERE setting <> '0'
                AND name = 'transaction_timeout'
        ) AS are_usual
    """
_LIMITS: Final = """
    SELECT name, setting::int8 AS milliseconds FROM pg_settings
    WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout')
    """
_LANGUAGES_THAT_HANDLE: Final = """
    SELECT EXISTS (SELECT FROM pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql'))
    """
_ROLE_SETTINGS: Final = "SELECT unnest(setconfig) AS setting FROM pg_db_role_setting"
_TABLES: Final = """
    SELECT c.oid::regclass::text AS name, c.relkind::text AS kind,
        c.relispartition OR c.relhassubclass OR EXISTS (
            SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS is_divided,
        array(SELECT t.tgfoid FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
            AS triggers,
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique
            AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) OR i.indisexclusion))
            OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                AND a.attgenerated <> '') AS has_odd_keys,
        array(SELECT DISTINCT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND (
            EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique
                AND a.attnum = ANY (i.indkey))
            OR EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f'
                AND (k.conrelid = c.oid AND a.attnum = ANY (k.conkey)
                    OR k.confrelid = c.oid AND a.attnum = ANY (k.confkey))))) AS key_columns,
        array(SELECT d.refobjid::regclass::text
            FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
            JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
            WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND f.adrelid = c.oid
            UNION SELECT d.objid::regclass::text FROM pg_depend d
            JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = c.oid AND d.deptype IN ('a', 'i')) AS sequences
    FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    """
_REFERENCES: Final = """
    SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent,
        confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd') AS is_passed_on
    FROM pg_constraint WHERE contype = 'f'
    """
_UNIQUE_INDEXES: Final = """
    SELECT n.nspname::text AS schema, c.relname::text AS name,
        array(SELECT a.attname::text
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
            WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns,
        array(SELECT a.atttypid::int8
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
            WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS types
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n
        ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
    WHERE c.oid >= 16384 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready
        AND i.indexprs IS NULL AND i.indpred IS NULL AND m.amname = 'btree'
        AND NOT EXISTS (SELECT FROM unnest(i.indcollation::oid[]) u (oid) JOIN pg_collation l
            ON l.oid = u.oid WHERE NOT l.collisdeterministic)
    """

_LANGUAGES: Final = frozenset({"sql", "plpgsql"})
_DEFAULTS: Final = frozenset({"nextval"})
# What a body can do beyond what its transaction's locks on tables tell.
_HIDING_WORDS: Final = """
    alter call commit copy create deallocate discard drop execute grant listen notify prepare
    reset revoke rollback unlisten vacuum
    """
_PLANNING: Final = re.compile(r"(?:search_path|plan_cache_mode|jit|work_mem|enable_\w+)=")
"""Settings of a function that change how it is planned, or which names it finds."""
_CONFLICT_ACTIONS: Final = frozenset({"nothing", "update"})
_HIDING: Final = frozenset(_HIDING_WORDS.split())


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table, a view or what else stands for one.

    Attributes:
        kind: PostgreSQL's ``relkind``.
        is_divided: whether it has partitions or heirs, or is one.
        trigger_functions: the numbers of the functions that its triggers call.
        has_odd_keys: whether keys or columns are made of expressions, or exclude by operators.
        key_columns: of unique indexes and of foreign keys, on either side.
        sequences: that its columns draw from.
        parents: tables that its rows refer to.
        children: tables that refer to its rows, with whether changes are passed on to them.
    """

    name: str
    kind: str
    is_divided: bool = False
    trigger_functions: tuple[int, ...] = ()
    has_odd_keys: bool = False
    key_columns: frozenset[str] = frozenset()
    sequences: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    children: tuple[tuple[str, bool], ...] = ()

    @property
    def is_ordinary(self) -> bool:
        """Whether it is one table, whose rows are its own."""
        return self.kind == "r" and not self.is_divided


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index whose entries name rows: of columns, whole, checked at once."""

    name: str
    columns: tuple[str, ...]
    type_oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A database's definitions.

    Attributes:
        is_opaque: whether any statement may run code that neither its text nor its locks tell.
        user: who sees it so.
        isolation: that transactions have unless they ask for another.
        has_usual_settings: no end of transactions by the clock, standard strings.
        limits_ms: the time limits of waits that sessions begin with, by the settings' names.
        limits_waits: whether a function may set one.
        limits_by_role: whether a role or database may.
        handles_errors: whether a function may catch an error, or run a text that does.
        stops_counting: whether one may turn off the counts by which runs are put back.
        built_in: names of the server's own functions.
        functions: names of the database's own functions.
        harmless: names of functions that touch nothing that others can see.
        visible: names of the database's own functions whose doings all show in locks on tables.
        shown: names of functions of either kind.
        known: names of all functions of which it is known what they do.
        hiding_tables: those whose triggers run code that hides what it does.
        tables: by name.
        unique_indexes: by schema and name.
    """

    is_opaque: bool = True
    user: str = ""
    isolation: str = ""
    has_usual_settings: bool = False
    limits_ms: Mapping[str, int] = field(default_factory=dict)
    limits_waits: bool = False
    limits_by_role: bool = False
    handles_errors: bool = False
    stops_counting: bool = False
    built_in: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    harmless: frozenset[str] = HARMLESS
    visible: frozenset[str] = frozenset()
    hiding_tables: frozenset[str] = frozenset()
    tables: Mapping[str, TableFacts] = field(default_factory=dict)
    unique_indexes: Mapping[tuple[str, str], UniqueIndex] = field(default_factory=dict)
    shown: frozenset[str] = field(init=False, repr=False)
    known: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Thousands of names, put together once and not in every run.
        object.__setattr__(self, "shown", self.harmless | self.visible)
        object.__setattr__(self, "known", self.shown | self.built_in)

    @classmethod
    async def read(cls, connection: "asyncpg.Connection[asyncpg.Record]") -> "Catalogue":
        """What the database on a connection is made of."""
        built_in = await connection.fetch(_BUILT_IN)
        harmless = HARMLESS | {row["name"] for row in built_in if row["is_immutable"]}
        functions = await connection.fetch(_FUNCTIONS)
        harmless -= {row["name"] for row in functions}
        shown = _visible(functions, harmless)
        tables = await _tables(connection)
        settings = await connection.fetchrow(_SETTINGS) or {}
        hidden = [text for row in functions for text in (row["body"] or "", *row["settings"])]
        of_roles = [row["setting"] for row in await connection.fetch(_ROLE_SETTINGS)]
        return cls(
            is_opaque=await connection.fetchval(_OPAQUE)
            or not _look_at_nothing(await connection.fetch(_EXPRESSIONS), harmless),
            user=settings["name"],
            isolation=settings["isolation"],
            has_usual_settings=settings["are_usual"],
            limits_ms=dict(await connection.fetch(_LIMITS)),
            limits_waits=any(map(limits_waits, hidden)),
            limits_by_role=any(map(limits_waits, of_roles)),
            handles_errors=await connection.fetchval(_LANGUAGES_THAT_HANDLE)
            or any(map(_may_handle_errors, functions)),
            stops_counting=any(map(stops_counting, [*hidden, *of_roles])),
            built_in=frozenset(row["name"] for row in built_in),
            functions=frozenset(row["name"] for row in functions),
            harmless=harmless,
            visible=_names(functions, shown),
            hiding_tables=frozenset(
                table.name for table in tables if not shown.issuperset(table.trigger_functions)
            ),
            tables={table.name: table for table in tables},
            unique_indexes={
                (row["schema"], row["name"]): UniqueIndex(
                    row["name"], tuple(row["columns"]), tuple(row["types"])
                )
                for row in await connection.fetch(_UNIQUE_INDEXES)
            },
        )

    @property
    def may_limit_waits(self) -> bool:
        """Whether sessions may begin with time limits of waits, or get them unseen."""
        return any(self.limits_ms.values()) or self.limits_waits or self.limits_by_role

    def touched_by_writing(self, name: str, *, is_insert: bool) -> tuple[frozenset[str], bool]:
        """The tables and sequences beside a table that writing to it can touch.

        Returns:
            their names, and whether that is all: no trigger has a say, no rows lie elsewhere.
        """
        beside: set[str] = set()
        written: dict[str, None] = {name: None}
        todo = [name]
        while todo:
            facts = self.tables.get(todo.pop())
            if facts is None or not facts.is_ordinary or facts.trigger_functions:
                return frozenset(beside), False
            beside.update(facts.parents, facts.sequences)
            for child, is_passed_on in () if is_insert else facts.children:
                beside.add(child)
                if is_passed_on and child not in written:
                    written[child] = None
                    todo.append(child)
        return frozenset(beside), True


async def _tables(connection: "asyncpg.Connection[asyncpg.Record]") -> list[TableFacts]:
    parents: defaultdict[str, set[str]] = defaultdict(set)
    children: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for row in await connection.fetch(_REFERENCES):
        parents[row["child"]].add(row["parent"])
        known = children[row["parent"]].get(row["child"], False)
        children[row["parent"]][row["child"]] = known or row["is_passed_on"]
    return [
        TableFacts(
            row["name"],
            row["kind"],
            is_divided=row["is_divided"],
            trigger_functions=tuple(row["triggers"]),
            has_odd_keys=row["has_odd_keys"],
            key_columns=frozenset(row["key_columns"]),
            sequences=tuple(row["sequences"]),
            parents=tuple(sorted(parents[row["name"]])),
            children=tuple(sorted(children[row["name"]].items())),
        )
        for row in await connection.fetch(_TABLES)
    ]


def _look_at_nothing(expressions: Iterable["asyncpg.Record"], harmless: frozenset[str]) -> bool:
    """Whether defaults, checks, indexes and views call no function of weight."""
    return all(
        calls(row["text"]) <= (harmless | _DEFAULTS if row["is_default"] else harmless)
        for row in expressions
    )


def _visible(functions: Sequence["asyncpg.Record"], harmless: frozenset[str]) -> frozenset[int]:
    """The functions of which all that they touch shows in their transaction's locks on tables.

    A function that calls another shows what it does when the other does.
    """
    shown = {row["oid"] for row in functions if _may_be_visible(row)}
    while True:
        known = harmless | _names(functions, frozenset(shown))
        hiding = {
            row["oid"]
            for row in functions
            if row["oid"] in shown and not calls(row["body"]) <= known
        }
        if not hiding:
            return frozenset(shown)
        shown -= hiding


def _names(functions: Iterable["asyncpg.Record"], shown: frozenset[int]) -> frozenset[str]:
    """The names of which every function is among those."""
    rows = list(functions)
    hidden = {row["name"] for row in rows if row["oid"] not in shown}
    return frozenset(row["name"] for row in rows) - hidden


def _may_handle_errors(row: "asyncpg.Record") -> bool:
    body = row["body"] or ""
    return handles_errors(body) or (row["language"] == "plpgsql" and "execute" in words_of(body))


def _may_be_visible(row: "asyncpg.Record") -> bool:
    if row["language"] not in _LANGUAGES or row["kind"] != "f":
        return False
    if not all(map(_PLANNING.match, row["settings"])):
        return False
    words = words_of(row["body"])
    # What an exception's handler takes back has given its locks away.
    pairs = set(pairwise(words))
    handles = ("exception", "when") in pairs
    runs = any(word == "do" and after not in _CONFLICT_ACTIONS for word, after in pairs)
    hides = handles or runs or not _HIDING.isdisjoint(words)
    return not hides and not sets_a_setting(row["body"])
