"""Who waits for whom in PostgreSQL, as the server says, and what for."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncpg

_WAITS: Final = """
    WITH locks AS MATERIALIZED (SELECT * FROM pg_locks)
    SELECT waiting.pid, pg_blocking_pids(waiting.pid) AS blockers, waiting.locktype,
        waiting.relation::regclass::text AS relation,
        waiting.classid::bigint, waiting.objid::bigint, waiting.objsubid::int,
        CASE WHEN waiting.locktype = 'object'
            THEN pg_describe_object(waiting.classid, waiting.objid, waiting.objsubid)
        END AS object,
        (SELECT row_lock.relation::regclass::text FROM locks AS row_lock
            WHERE row_lock.pid = waiting.pid AND row_lock.locktype = 'tuple' AND row_lock.granted
            LIMIT 1) AS row_of,
        ARRAY(SELECT DISTINCT mine.relation::regclass::text
            FROM locks AS mine JOIN locks AS theirs USING (database, relation)
            JOIN pg_class ON pg_class.oid = mine.relation AND relkind = 'r'
            WHERE mine.pid = waiting.pid AND theirs.pid = ANY(pg_blocking_pids(waiting.pid))
                AND mine.mode = 'RowExclusiveLock' AND theirs.mode = 'RowExclusiveLock'
                AND waiting.locktype = 'transactionid') AS written_by_both,
        (extract(epoch FROM clock_timestamp() - waiting.waitstart) * 1000)::float8 AS waited_ms,
        (extract(epoch FROM current_setting('deadlock_timeout')::interval) * 1000)::float8
            AS deadlock_timeout_ms,
        extract(epoch FROM waiting.waitstart)::float8 AS began_at
    FROM locks AS waiting WHERE NOT waiting.granted AND waiting.pid = ANY($1::int[])
    """
_HOLDERS: Final = """
    SELECT waiting.pid, waiting.mode, holding.pid AS holder, holding.mode AS held
    FROM pg_locks AS waiting JOIN pg_locks AS holding
        ON (holding.locktype, holding.database, holding.relation, holding.page, holding.tuple,
            holding.virtualxid, holding.transactionid, holding.classid, holding.objid,
            holding.objsubid)
        IS NOT DISTINCT FROM
            (waiting.locktype, waiting.database, waiting.relation, waiting.page, waiting.tuple,
            waiting.virtualxid, waiting.transactionid, waiting.classid, waiting.objid,
            waiting.objsubid)
        AND holding.granted AND holding.pid <> waiting.pid
    WHERE NOT waiting.granted AND waiting.pid = ANY($1::int[])
    """
# What a serializable transaction has read is remembered beyond its end, and blocks nobody.
_LOCKED: Final = """
    SELECT EXISTS (
        SELECT FROM pg_locks WHERE pid = ANY($1::int[]) AND mode <> 'SIReadLock'
    )
    """
_STRANGER: Final = """
    SELECT application_name, backend_type, left(query, 200) AS query
    FROM pg_stat_activity WHERE pid = $1
    """
_INSERTS: Final = re.compile(r"\s*(?:insert|copy|merge)\b", re.IGNORECASE)
_UPDATES: Final = re.compile(r"\s*update\b", re.IGNORECASE)
_STRONGER: Final[Mapping[str, tuple[str, ...]]] = {
    "AccessShareLock": ("AccessExclusiveLock",),
    "RowShareLock": ("ExclusiveLock", "AccessExclusiveLock"),
    "RowExclusiveLock": (
        "ShareLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    ),
    "ShareUpdateExclusiveLock": (
        "ShareUpdateExclusiveLock",
        "ShareLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    ),
    "ShareLock": ("ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
    "ShareRowExclusiveLock": ("ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
    "ExclusiveLock": ("ExclusiveLock", "AccessExclusiveLock"),
    "AccessExclusiveLock": ("AccessExclusiveLock",),
}
"""Which locks of the same or a stronger mode each has to wait for."""
_PATIENT_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class Wait:
    """A backend that waits for a lock.

    Attributes:
        process_id: the backend's.
        blockers: the backends that it waits for, those before it in the queue included; 0 for a
            prepared transaction.
        lock_type: as ``pg_locks`` says it.
        relation: whose lock it is; empty when it is no relation's.
        row_of: the table whose row it is about to lock, where the server shows that.
        written_by_both: tables that it and those it waits for have written.
        name: of a lock that is no relation's, as in ``advisory lock 7``; empty when it has none.
        waited_ms: for how long; 0 when it has only begun.
        deadlock_timeout_ms: after so long the server looks for a deadlock.
        began_at: when it began, in seconds of the server's clock; 0 when it has only begun.
    """

    process_id: int
    blockers: frozenset[int]
    lock_type: str
    relation: str = ""
    row_of: str = ""
    written_by_both: tuple[str, ...] = ()
    name: str = ""
    waited_ms: float = 0.0
    deadlock_timeout_ms: float = 1000.0
    began_at: float = 0.0

    @property
    def table(self) -> str:
        """The table that it is about; empty when that cannot be told."""
        if self.relation or self.row_of:
            return self.relation or self.row_of
        return self.written_by_both[0] if len(self.written_by_both) == 1 else ""

    @property
    def is_soon_resolved(self) -> bool:
        """Whether the server looks for deadlocks so soon that one may wait for it."""
        return self.deadlock_timeout_ms <= _PATIENT_MS

    def is_behind(self, other: "Wait | None") -> bool:
        """Whether another, for whom it waits, does not hold the lock but waits for it as well.

        The lock of a row is taken by whoever is the next to have the row.
        """
        if other is None or self.lock_type == "transactionid":
            return False
        if self.lock_type == "tuple":
            return True
        same = (self.lock_type, self.relation, self.name)
        return same == (other.lock_type, other.relation, other.name)

    def is_behind_in_row(self, other: "Wait") -> bool:
        """Whether another, who waits as well, is to have the row first that this one waits for."""
        return self.lock_type == "tuple" and other.process_id in self.blockers

    def what(self, statement: str) -> str:
        """What is waited for, as in ``row of accounts``; empty when the server does not say.

        Args:
            statement: the SQL that waits: only one that inserts waits for a transaction because of
                a unique key alone.
        """
        if self.row_of:
            return f"row of {self.row_of}"
        if self.lock_type == "transactionid" and self.table:
            if _INSERTS.match(statement):
                return f"unique key of {self.table}"
            return f"row or unique key of {self.table}" if _UPDATES.match(statement) else ""
        if self.lock_type == "tuple":
            return f"row of {self.relation}"
        if self.relation:
            return f"table {self.relation}"
        return self.name


class LockWaits:
    """Asks one server who waits for whom, on a connection of the kit's own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def of(self, process_ids: Sequence[int]) -> dict[int, Wait]:
        """The waits among some backends; those that wait for no lock are absent."""
        rows = await self._connection.fetch(_WAITS, list(process_ids))
        waits = (_wait(row) for row in rows)
        return {wait.process_id: wait for wait in waits if wait.blockers}

    async def holders(self, process_ids: Sequence[int]) -> dict[int, frozenset[int]]:
        """Who holds what each backend waits for; those that only stand before it are left out."""
        rows = await self._connection.fetch(_HOLDERS, list(process_ids))
        return {
            pid: frozenset(
                row["holder"]
                for row in rows
                if row["pid"] == pid and conflict(row["mode"], row["held"])
            )
            for pid in process_ids
        }

    async def relation_name(self, oid: int) -> str:
        """A relation's name, with its schema where that is needed; its number if it has none."""
        return str(await self._connection.fetchval("SELECT $1::oid::regclass::text", oid))

    async def hold_locks(self, process_ids: Collection[int]) -> bool:
        """Whether any of these backends holds a lock."""
        return bool(await self._connection.fetchval(_LOCKED, list(process_ids)))

    async def described(self, process_id: int) -> str:
        """Who a backend is that does not belong to the test, for people."""
        if process_id == 0:
            return "a prepared transaction"
        row = await self._connection.fetchrow(_STRANGER, process_id)
        if row is None:
            return f"backend {process_id}"
        facts = [row["application_name"] or row["backend_type"] or "", row["query"] or ""]
        said = ": ".join(" ".join(fact.split()) for fact in facts if fact)
        return f"backend {process_id}" + (f" ({said})" if said else "")


def conflict(mode: str, held: str) -> bool:
    """Whether a lock of one mode has to wait for one of another, as ``pg_locks`` writes them.

    The table: PostgreSQL documentation, 13.3.1, "Table-Level Locks"; other locks use its modes.
    """
    return (mode in _STRONGER.get(held, ())) or (held in _STRONGER.get(mode, ()))


def cycle_among(waits: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names that wait for one another in a circle, each for the next; empty without one.

    The first in the order of names is found first, and begins with its smallest name.
    """
    for start in sorted(waits):
        found = _path_back(waits, start)
        if found:
            return found
    return ()


def _path_back(waits: Mapping[str, Iterable[str]], start: str) -> tuple[str, ...]:
    """The shortest way from a name back to itself, breadth first."""
    paths: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while paths:
        longer = []
        for path in paths:
            for following in sorted(waits.get(path[-1], ())):
                if following == start:
                    return path
                if following not in seen:
                    seen.add(following)
                    longer.append((*path, following))
        paths = longer
    return ()


def _wait(row: "asyncpg.Record") -> Wait:
    return Wait(
        row["pid"],
        frozenset(row["blockers"]),
        row["locktype"],
        row["relation"] or "",
        row["row_of"] or "",
        tuple(row["written_by_both"]),
        row["object"] or lock_name(row["locktype"], row["classid"], row["objid"], row["objsubid"]),
        row["waited_ms"] or 0.0,
        row["deadlock_timeout_ms"],
        row["began_at"] or 0.0,
    )


def lock_name(lock_type: str, class_id: int | None, object_id: int | None, sub_id: int) -> str:
    """What people call a lock that is no relation's; empty when they do not call it anything.

    An advisory lock has one key of 64 bits (sub id 1) or two of 32 bits (sub id 2), the columns of
    ``pg_locks`` as unsigned numbers (PostgreSQL documentation, "pg_locks").
    """
    if lock_type != "advisory" or class_id is None or object_id is None:
        return ""
    if sub_id == 1:
        return f"advisory lock {_signed(class_id << 32 | object_id, 64)}"
    return f"advisory lock ({_signed(class_id, 32)}, {_signed(object_id, 32)})"


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number
