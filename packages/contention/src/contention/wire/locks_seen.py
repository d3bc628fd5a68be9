"""What PostgreSQL shows of its locks: who blocks whom, and what a backend has touched."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from contention.model.footprints import Footprint, Mode, Resource

if TYPE_CHECKING:
    import asyncpg

_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) AS blockers FROM unnest($1::int[]) AS pid"
_RELATIONS = """
    SELECT DISTINCT relation::regclass::text AS name, mode FROM pg_locks
    WHERE pid = $1 AND locktype = 'relation' AND relation >= 16384
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
_HIDDEN_CODE = """
    SELECT EXISTS (SELECT FROM pg_proc WHERE oid >= 16384)
        OR EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal)
        OR EXISTS (SELECT FROM pg_constraint WHERE condeferrable)
        OR EXISTS (SELECT FROM pg_rewrite WHERE oid >= 16384 AND rulename <> '_RETURN')
        OR EXISTS (SELECT FROM pg_policy)
    """
_ONLY_READS = "AccessShareLock"


class LockWatcher:
    """A connection of the kit's own that looks into one database.

    Attributes:
        sees_hidden_code: whether the database has functions, triggers, rules or deferred
            constraints, which can touch more than a statement's text and locks tell.
    """

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", *, sees_hidden_code: bool
    ) -> None:
        self._connection = connection
        self.sees_hidden_code = sees_hidden_code

    @classmethod
    async def on(cls, connection: "asyncpg.Connection[asyncpg.Record]") -> "LockWatcher":
        """A watcher of the database that a connection is on."""
        return cls(connection, sees_hidden_code=bool(await connection.fetchval(_HIDDEN_CODE)))

    async def blockers(self, process_ids: Sequence[int]) -> Mapping[int, frozenset[int]]:
        """Whom each backend waits for, as the server says; empty for one that does not wait."""
        rows = await self._connection.fetch(_BLOCKERS, list(process_ids))
        return {row["pid"]: frozenset(row["blockers"]) for row in rows}

    async def touched(self, process_id: int) -> Footprint:
        """The relations that a backend's transaction has locked so far, and those it waits for."""
        return relations_footprint(
            (row["name"], row["mode"])
            for row in await self._connection.fetch(_RELATIONS, process_id)
        )


def relations_footprint(locks: Iterable[tuple[str, str]]) -> Footprint:
    """What locks on relations say was touched: ACCESS SHARE reads, everything else may write."""
    return Footprint(
        tuple(
            (Resource(f"table {name}"), Mode.READ if mode == _ONLY_READS else Mode.WRITE)
            for name, mode in locks
        )
    )
