"""Rows of a file: cells as text, each row with its number, good or refused with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, TypeAlias

from claimwright.domain.errors import InvalidInputError

MOST_CELL_CHARACTERS: Final = 10_000
MOST_COLUMNS: Final = 1_000

Cell: TypeAlias = str | None
"""A cell's text; `None` where the file has a value that is no value, such as Parquet's null."""


class Row(NamedTuple):
    """A row that could be read; ``number`` is where a person finds it in the file."""

    number: int
    cells: Sequence[Cell]


class RefusedRow(NamedTuple):
    """A row that was not taken, why, and what it held as far as it could be read."""

    number: int
    reason: str
    cells: Sequence[Cell]


class FileProgress(NamedTuple):
    """How much of a file is read: bytes of CSV, rows of Parquet."""

    done: int
    total: int


class RowSource(Protocol):
    """A file of rows, read once from its beginning to its end, a bounded part at a time."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, in the file's order."""
        ...

    @property
    def progress(self) -> FileProgress:
        """How much was read so far."""
        ...

    def __iter__(self) -> Iterator[Row | RefusedRow]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        encoding: a text encoding in which every line ends with the byte of a line feed.
        delimiter: one character between cells.
    """

    encoding: str = "utf-8"
    delimiter: str = ","

    def __post_init__(self) -> None:
        try:
            plain = "\r\n\"'0".encode(self.encoding) == b"\r\n\"'0"
        except (LookupError, ValueError, TypeError):
            plain = False
        if not plain:
            raise InvalidInputError(
                f"{self.encoding!r} is not a text encoding that contains ASCII, such as utf-8, "
                "latin-1 or cp1252"
            )
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0 ':
            raise InvalidInputError(f"{self.delimiter!r} is not a delimiter of one character")


def positions_of(columns: Sequence[str], wanted: Sequence[str]) -> Mapping[str, int]:
    """Where the wanted columns stand.

    Raises:
        InvalidInputError: some of them are missing, or stand there twice; it names them.
    """
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InvalidInputError(
            f"row 1: the file has no column {_names(missing)}; it has {_names(columns[:50])}"
        )
    twice = sorted({name for name in wanted if columns.count(name) > 1})
    if twice:
        raise InvalidInputError(f"row 1: the file has more than one column {_names(twice)}")
    return {name: columns.index(name) for name in wanted}


def fault_of_cells(cells: Sequence[Cell]) -> str | None:
    """Why no row can have these cells, as a sentence; `None` where it can."""
    if len(cells) > MOST_COLUMNS:
        return f"it has {len(cells):,} cells; a row has at most {MOST_COLUMNS:,}"
    for position, cell in enumerate(cells, start=1):
        if cell is None:
            continue
        if len(cell) > MOST_CELL_CHARACTERS:
            return (
                f"cell {position} has {len(cell):,} characters; "
                f"a cell has at most {MOST_CELL_CHARACTERS:,}"
            )
        if "\0" in cell:
            return f"cell {position} contains a NUL"
    return None


def shortened(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells within the bounds of a row, for a report."""
    return tuple(cell and cell[:MOST_CELL_CHARACTERS] for cell in cells[:MOST_COLUMNS])


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names)
