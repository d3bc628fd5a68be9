"""CSV files: every row that can be read is read, whatever stands in the rows around it."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.words import counted
from claimwright.files.rows import (
    MOST_CELL_CHARACTERS,
    MOST_COLUMNS,
    Cell,
    Dialect,
    FileProgress,
    RefusedRow,
    Row,
    fault_of_cells,
    shortened,
)

_MOST_LINE_BYTES: Final = 2**20
#: A line that is refused for its length is read over up to here, to find the next one.
_MOST_SKIPPED_BYTES: Final = 2**26
#: Blank lines are no rows; a file that goes on with them and nothing else has no end.
_MOST_BLANK_LINES: Final = 1_000_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Line(NamedTuple):
    number: int
    raw: bytes
    fault: str | None


class _UnreadableError(Exception):
    """The record that begins with the first of the lines taken cannot be read."""


class CsvRows:
    """The rows of a CSV file with a header; a context manager, read once.

    A row's number is that of the line it begins on; the header is line 1. A quotation mark that
    nobody closes refuses the line it stands on, not the rows after it.

    Raises:
        InvalidInputError: the file cannot be opened, is empty, or its header cannot be read; while
            it is read also where the file fails, or goes on without a row.
    """

    def __init__(self, path: Path, dialect: Dialect) -> None:
        try:
            self._stream: BinaryIO = path.open("rb")
            self._size_bytes = path.stat().st_size
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None
        self._path = path
        self._lines = _Lines(self._stream, dialect, path)
        try:
            self._columns = self._header(path)
        except BaseException:
            self._stream.close()
            raise

    @property
    def columns(self) -> tuple[str, ...]:
        """The header's names, without spaces around them."""
        return self._columns

    @property
    def progress(self) -> FileProgress:
        """Bytes read, and bytes there are."""
        return FileProgress(min(self._lines.read_bytes, self._size_bytes), self._size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Row | RefusedRow]:
        blank = 0
        for row in self._lines.records():
            if isinstance(row, RefusedRow) or row.cells:
                blank = 0
                yield self._checked(row)
                continue
            blank += 1
            if blank > _MOST_BLANK_LINES:
                reason = f"more than {_MOST_BLANK_LINES:,} blank lines end here"
                raise InvalidInputError(f"{self._path}, row {row.number}: {reason}")

    def _header(self, path: Path) -> tuple[str, ...]:
        for row in self._lines.records():
            if isinstance(row, RefusedRow):
                raise InvalidInputError(f"{path}, row {row.number}: {row.reason}")
            columns = tuple((cell or "").strip() for cell in row.cells)
            if not any(columns):
                break
            if fault := fault_of_cells(columns):
                raise InvalidInputError(f"{path}, row {row.number}: {fault}")
            return columns
        raise InvalidInputError(f"{path} has no header: its first row names the columns")

    def _checked(self, row: Row | RefusedRow) -> Row | RefusedRow:
        if isinstance(row, RefusedRow):
            return row
        if len(row.cells) != len(self._columns):
            reason = f"it has {counted(len(row.cells), 'cell')}, the header {len(self._columns):,}"
            return self._lines.refused(reason, row.cells)
        if fault := fault_of_cells(row.cells):
            return RefusedRow(row.number, fault, shortened(row.cells))
        return row


class _Lines:
    """The lines of a stream, and the records they make; lines can be given back."""

    def __init__(self, stream: BinaryIO, dialect: Dialect, path: Path) -> None:
        self._stream = stream
        self._dialect = dialect
        self._path = path
        self.read_bytes = 0
        self._goes_on = False
        self._given_back: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self._further_bytes = 0
        self._number = 0

    def records(self) -> Iterator[Row | RefusedRow]:
        reader = self._reader()
        while True:
            self._taken.clear()
            self._further_bytes = 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (_UnreadableError, csv.Error) as error:
                # The lines behind the reader may have ended with the error, so both begin anew.
                reader = self._reader()
                yield self.refused(str(error))
            else:
                yield Row(self._taken[0].number, cells)

    def refused(self, reason: str, cells: Sequence[Cell] | None = None) -> RefusedRow:
        """Refuse the first line of the record; its further lines are read as records again.

        Args:
            reason: why, as a sentence.
            cells: what the record held, where it could be read.
        """
        line, *further = self._taken
        self._given_back.extendleft(reversed(further))
        if cells is not None and not further:
            return RefusedRow(line.number, reason, shortened(cells))
        text = line.raw.decode(self._dialect.encoding, errors="backslashreplace").rstrip("\r\n")
        return RefusedRow(line.number, reason, self._split(text))

    def _reader(self) -> Iterator[list[str]]:
        # strict: a quotation mark in the wrong place is an error instead of a strange cell.
        return csv.reader(self._texts(), delimiter=self._dialect.delimiter, strict=True)

    def _split(self, text: str) -> tuple[str | None, ...]:
        """The cells of a line that was refused, as far as they can be told apart."""
        if '"' in text or len(text) > MOST_CELL_CHARACTERS:
            return (text[:MOST_CELL_CHARACTERS],)
        return tuple(text.split(self._dialect.delimiter)[:MOST_COLUMNS])

    def _texts(self) -> Iterator[str]:
        while (line := self._next_line()) is not None:
            is_further = bool(self._taken)
            self._taken.append(line)
            self._further_bytes += len(line.raw) if is_further else 0
            text, fault = self._text_of(line)
            if is_further and (fault or self._further_bytes > MOST_CELL_CHARACTERS):
                raise _UnreadableError("a quotation mark opens a cell that is not closed")
            if fault:
                raise _UnreadableError(fault)
            yield text

    def _text_of(self, line: _Line) -> tuple[str, str | None]:
        """A line's text, and why it has none."""
        if line.fault:
            return "", line.fault
        try:
            return line.raw.decode(self._dialect.encoding), None
        except UnicodeDecodeError as error:
            return "", f"byte {error.start + 1} of the line is not {self._dialect.encoding}"

    def _next_line(self) -> _Line | None:
        if self._given_back:
            return self._given_back.popleft()
        if self._goes_on:
            self._skip_to_line_end()
        raw = self._read_line()
        if not raw:
            return None
        self._number += 1
        if self._number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK) or b"\n"
        fault = None
        if len(raw) == _MOST_LINE_BYTES and not raw.endswith(b"\n"):
            # Its end is looked for when somebody asks for more: a header that has none is an error.
            self._goes_on = True
            fault = f"the line is longer than {_MOST_LINE_BYTES:,} bytes"
        return _Line(self._number, raw, fault)

    def _skip_to_line_end(self) -> None:
        self._goes_on = False
        for _ in range(_MOST_SKIPPED_BYTES // _MOST_LINE_BYTES):
            more = self._read_line()
            if not more or more.endswith(b"\n"):
                return
        raise InvalidInputError(
            f"{self._path}, row {self._number}: "
            f"the line has not ended after {_MOST_SKIPPED_BYTES:,} bytes"
        )

    def _read_line(self) -> bytes:
        try:
            line = self._stream.readline(_MOST_LINE_BYTES)
        except OSError as error:
            raise InvalidInputError(
                f"{self._path} cannot be read after row {self._number:,}: {error.strerror}"
            ) from None
        self.read_bytes += len(line)
        return line
