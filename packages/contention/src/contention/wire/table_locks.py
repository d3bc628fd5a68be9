"""What a lock on a relation tells of what its transaction does there."""

from typing import Final

from contention.model.footprints import Mode, Resource

_SEQUENCE: Final = "S"
_READS: Final = "AccessShareLock"
_WRITES: Final = "RowExclusiveLock"
_ROWS: Final = frozenset({"RowShareLock", _WRITES})
_SHUTS: Final = "AccessExclusiveLock"


def only_reads(mode: str) -> bool:
    """Whether the lock is that of a plain SELECT."""
    return mode == _READS


def is_row_lock(mode: str) -> bool:
    """Whether the lock is that of a statement that locks or changes rows."""
    return mode in _ROWS


def fires_triggers(mode: str) -> bool:
    """Whether the lock may be that of a statement that triggers see."""
    return mode in {_WRITES, _SHUTS}


def touches_of_lock(name: str, kind: str, mode: str) -> tuple[tuple[Resource, Mode], ...]:
    """What a transaction touches that has locked a relation, or waits to.

    Beside the rows, those who read a table and those who write to it are resources: a lock on the
    table itself, or a try at one, depends on whether there are any.

    Args:
        name: of the relation.
        kind: PostgreSQL's ``relkind``.
        mode: of the lock, as ``pg_locks`` has it.
    """
    rows = Resource(f"table {name}")
    readers, writers = Resource(f"readers of table {name}"), Resource(f"writers of table {name}")
    if kind == _SEQUENCE:
        # What it gives away is gone at once, whatever becomes of the transaction.
        return ((rows, Mode.READ if mode == _READS else Mode.WRITE),)
    if mode == _READS:
        return ((rows, Mode.READ), (readers, Mode.READ))
    if mode in _ROWS:
        return ((rows, Mode.STAGE), (writers, Mode.READ))
    if mode == _SHUTS:
        return ((rows, Mode.WRITE), (readers, Mode.WRITE), (writers, Mode.WRITE))
    return ((rows, Mode.STAGE), (writers, Mode.WRITE))


def presence(table: str) -> tuple[Resource, Mode]:
    """That a statement or transaction locks rows of a table, whichever they are."""
    return (Resource(f"writers of {table}"), Mode.READ)
