"""How a database goes back to its start: what has changed, and the SQL that undoes it.

Pure: `restore_database` asks the server and carries it out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_BEGIN: Final = (
    "BEGIN",
    # Neither triggers, rules nor foreign keys see what is put back.
    "SET LOCAL session_replication_role = replica",
    "SET LOCAL synchronous_commit = off",
)
FLUSH_COUNTERS: Final = "SELECT pg_stat_force_next_flush()"


class NotInPlaceError(Exception):
    """A change that is undone by cloning alone, with the reason."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table or materialised view with what it held at the start.

    Attributes:
        oid: its number, the same in every clone.
        kind: PostgreSQL's ``relkind``: ``r`` has rows, ``p`` is partitioned, ``m`` a view.
        columns: their names, without generated ones.
        values: its rows for an INSERT, in physical order, when they are few.
        copied: its rows as COPY's text format has them, when they are many.
        is_kept: whether the rows are known: not those of a view, nor of a huge table.
    """

    oid: int
    schema: str
    bare_name: str
    kind: str
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = field(default=(), repr=False)
    copied: bytes = field(default=b"", repr=False)
    is_kept: bool = True

    @property
    def name(self) -> str:
        """The name for SQL: qualified and quoted."""
        return f"{quoted(self.schema)}.{quoted(self.bare_name)}"

    @property
    def column_list(self) -> str:
        """The columns for SQL: quoted, with commas."""
        return ", ".join(map(quoted, self.columns))

    @property
    def insert(self) -> str:
        """The statement that puts the rows back; empty when there are none, or to be copied."""
        if not self.values:
            return ""
        rows = ", ".join(self.values)
        return (
            f"INSERT INTO {self.name} ({self.column_list}) "  # noqa: S608 - the catalogue's names
            f"OVERRIDING SYSTEM VALUE VALUES {rows}"
        )


@dataclass(frozen=True, slots=True)
class SequenceStart:
    """A sequence with its state at the start, as ``last_value:is_called`` with t or f."""

    name: str
    state: str

    @property
    def reset(self) -> str:
        """The expression that puts the state back."""
        value, is_called = self.state.split(":")
        return f"setval({literal(self.name)}, {value}, '{is_called}')"


@dataclass(frozen=True, slots=True)
class Marks:
    """Numbers that move when something is written, committed or not.

    Attributes:
        strangers: backends of the database that are not the kit's.
        prepared: names of its prepared transactions.
        catalogs: rows inserted, updated and deleted so far, by catalogue.
        tables: the same, by table.
        files: each table's file, which TRUNCATE and rewriting replace.
        sequences: the state of each, as in `SequenceStart`.
    """

    strangers: tuple[int, ...]
    prepared: tuple[str, ...]
    catalogs: tuple[int, ...]
    tables: tuple[int, ...]
    files: tuple[int | None, ...]
    sequences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a database held at the start, and how its tables hang together.

    Attributes:
        catalogs: names of the system tables that are watched, in the order of the marks.
        tables: in the order of the marks.
        sequences: in the order of the marks.
        dragged: tables that TRUNCATE has to empty with a table, itself left out: those that
            refer to it, and the partitions of a partitioned one; by number.
        obstacle: why no table can be changed in place; empty when all can.
    """

    catalogs: tuple[str, ...]
    tables: tuple[Table, ...]
    sequences: tuple[SequenceStart, ...]
    dragged: Mapping[int, frozenset[int]]
    obstacle: str = ""

    def changed_catalogs(self, before: Marks, now: Marks) -> tuple[str, ...]:
        """The system tables that were written."""
        pairs = zip(self.catalogs, before.catalogs, now.catalogs, strict=True)
        return tuple(name for name, old, new in pairs if old != new)

    def changed_tables(self, before: Marks, now: Marks) -> tuple[Table, ...]:
        """The tables that were written, and those that have to be emptied with them.

        Raises:
            NotInPlaceError: one of them cannot be put back row by row.
        """
        old, new = _marks_of_tables(before), _marks_of_tables(now)
        pairs = zip(self.tables, old, new, strict=True)
        return self.with_dragged(table.oid for table, was, is_now in pairs if was != is_now)

    def with_dragged(self, numbers: Iterable[int]) -> tuple[Table, ...]:
        """These tables, and those that have to be emptied with them.

        Raises:
            NotInPlaceError: one of them cannot be put back row by row.
        """
        wanted, waiting = set[int](), list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in wanted:
                wanted.add(number)
                waiting.extend(self.dragged.get(number, ()))
        found = tuple(table for table in self.tables if table.oid in wanted)
        if found and self.obstacle:
            raise NotInPlaceError(self.obstacle)
        for table in found:
            if not table.is_kept:
                raise NotInPlaceError(f"the rows of {table.name} are not kept")
        return found

    def changed_sequences(self, now: Marks) -> tuple[SequenceStart, ...]:
        """The sequences that have gone on."""
        pairs = zip(self.sequences, now.sequences, strict=True)
        return tuple(sequence for sequence, state in pairs if state != sequence.state)


def restoring_sql(
    tables: Sequence[Table], sequences: Sequence[SequenceStart], *, is_whole: bool = True
) -> str:
    """The statements that empty the tables, fill them again and set the sequences back.

    Args:
        tables: each with all that have to be emptied with it.
        sequences: those to set back.
        is_whole: whether the transaction ends with it; rows to be copied come in between.
    """
    statements = list(_BEGIN)
    if tables:
        names = [f"{'' if table.kind == 'p' else 'ONLY '}{table.name}" for table in tables]
        statements.append(f"TRUNCATE {', '.join(names)}")
    statements += [table.insert for table in tables if table.insert]
    statements += [f"SELECT {sequence.reset}" for sequence in sequences]
    if is_whole:
        statements += [FLUSH_COUNTERS, "COMMIT"]
    return "; ".join(statements)


def quoted(name: str) -> str:
    """A name for SQL, whatever it contains."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(text: str) -> str:
    """A text for SQL, whatever it contains; as PostgreSQL's ``quote_literal``."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'" if "\\" not in text else " E'" + doubled.replace("\\", "\\\\") + "'"


def _marks_of_tables(marks: Marks) -> list[tuple[int, int | None]]:
    return list(zip(marks.tables, marks.files, strict=True))
