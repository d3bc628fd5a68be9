"""What PostgreSQL shows of its locks: who blocks whom, and what a backend has touched."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from contention.model.footprints import UNKNOWN, Footprint, Mode, Resource
from contention.wire.catalogue import Catalogue
from contention.wire.plans import Plans, Shape
from contention.wire.table_locks import fires_triggers, touches_of_lock

if TYPE_CHECKING:
    import asyncpg

_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) AS blockers FROM unnest($1::int[]) AS pid"
_RELATIONS = """
    SELECT DISTINCT c.oid::regclass::text AS name, c.relkind::text AS kind, l.mode,
        c.oid < 16384 AS is_system
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = $1 AND l.locktype = 'relation' AND c.relkind NOT IN ('i', 'I', 't')
        AND l.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    """
_STORED = frozenset({"r", "p", "m", "v", "S"})
_SYSTEM_STORED = frozenset({"r"})


class LockWatcher:
    """A connection of the kit's own that looks into one database.

    Args:
        connection: to the database of the run; nobody else uses it.
        plans: what is known of statements from runs with the same start.
    """

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", plans: Plans, catalogue: Catalogue
    ) -> None:
        self._connection = connection
        self._plans = plans
        self.catalogue = catalogue

    @classmethod
    async def on(
        cls, connection: "asyncpg.Connection[asyncpg.Record]", plans: Plans | None = None
    ) -> "LockWatcher":
        """A watcher of the database that a connection is on."""
        plans = plans or Plans()
        return cls(connection, plans, await plans.catalogue(connection))

    @property
    def connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        """The connection, for other looks into the same database."""
        return self._connection

    async def blockers(self, process_ids: Sequence[int]) -> Mapping[int, frozenset[int]]:
        """Whom each backend waits for, as the server says; empty for one that does not wait."""
        rows = await self._connection.fetch(_BLOCKERS, list(process_ids))
        return {row["pid"]: frozenset(row["blockers"]) for row in rows}

    async def touched(self, process_id: int) -> Footprint:
        """The relations that a backend's transaction has locked so far, and those it waits for."""
        return self.relations_footprint(
            (row["name"], row["kind"], row["mode"], row["is_system"])
            for row in await self._connection.fetch(_RELATIONS, process_id)
        )

    async def shape(self, sql: str, type_oids: tuple[int, ...]) -> Shape | None:
        """What one statement touches, as the server plans it; `None` when it cannot say."""
        return await self._plans.shape(self._connection, sql, type_oids)

    def relations_footprint(self, locks: Iterable[tuple[str, str, str, bool]]) -> Footprint:
        """What locks on relations say was touched.

        Views of the server's own show what happens outside of transactions, and a table's hidden
        triggers do what no lock tells: those are unknown.
        """
        touches: list[tuple[Resource, Mode]] = []
        for name, kind, mode, is_system in locks:
            if kind not in (_SYSTEM_STORED if is_system else _STORED):
                return UNKNOWN
            if fires_triggers(mode) and name in self.catalogue.hiding_tables:
                return UNKNOWN
            touches += touches_of_lock(name, kind, mode)
        return Footprint(tuple(touches))
