"""Tables written to a stream row by row: CSV, JSON or Parquet, amounts exact in each."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias

from claimwright.domain.errors import InvalidInputError
from claimwright.files.parquet_rows import require_parquet

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

Value: TypeAlias = str | int | Decimal | date | datetime | None


class TableFormat(StrEnum):
    """The formats a table can be written in."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class ColumnKind(StrEnum):
    """What a column holds, and so its type in Parquet."""

    TEXT = "text"
    WHOLE = "whole"
    DATE = "date"
    INSTANT = "instant"
    AMOUNT = "amount"
    """An amount of money: every decimal of its currency in CSV and JSON, four in Parquet."""
    PERCENTAGE = "percentage"


#: The Parquet type of each kind. An amount holds 10^16 minor units of any currency, whose minor
#: unit has 0 to 4 decimals.
PARQUET_TYPES: Final[Mapping[ColumnKind, str]] = {
    ColumnKind.TEXT: "string",
    ColumnKind.WHOLE: "int64",
    ColumnKind.DATE: "date32[day]",
    ColumnKind.INSTANT: "timestamp[us, tz=UTC]",
    ColumnKind.AMOUNT: "decimal128(24, 4)",
    ColumnKind.PERCENTAGE: "decimal128(9, 6)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, its kind, and what it says."""

    name: str
    kind: ColumnKind
    meaning: str


class TableWriter(Protocol):
    """Takes rows of a table, some at a time."""

    def add(self, rows: Sequence[Sequence[Value]]) -> None:
        """Write rows, each with one value a column."""
        ...


def format_of(path: Path) -> TableFormat:
    """The format a file's suffix names.

    Raises:
        InvalidInputError: it names none.
    """
    try:
        return TableFormat(path.suffix.removeprefix(".").lower())
    except ValueError:
        known = ", ".join(f".{name}" for name in TableFormat)
        raise InvalidInputError(
            f"{path} ends in none of {known}: give a format to write another name"
        ) from None


def table_writer(
    table_format: TableFormat, stream: BinaryIO, columns: Sequence[Column]
) -> AbstractContextManager[TableWriter]:
    """A writer of a table to a stream; the table is complete when the block ends.

    Raises:
        InvalidInputError: Parquet, and its extra is not installed.
    """
    if table_format is TableFormat.PARQUET:
        require_parquet()
    return _WRITERS[table_format](stream, columns)


@contextmanager
def _text(stream: BinaryIO) -> Iterator[TextIOWrapper]:
    text = TextIOWrapper(stream, "utf-8", newline="")
    try:
        yield text
        text.flush()
    finally:
        # Whoever opened the stream closes it.
        text.detach()


class _CsvWriter:
    def __init__(self, text: TextIOWrapper, columns: Sequence[Column]) -> None:
        self._writer = csv.writer(text, lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def add(self, rows: Sequence[Sequence[Value]]) -> None:
        self._writer.writerows([_as_text(value) for value in row] for row in rows)


@contextmanager
def _csv_writer(stream: BinaryIO, columns: Sequence[Column]) -> Iterator[TableWriter]:
    with _text(stream) as text:
        yield _CsvWriter(text, columns)


class _JsonWriter:
    """An array of objects, one a line."""

    def __init__(self, text: TextIOWrapper, columns: Sequence[Column]) -> None:
        self._text = text
        self._names = [column.name for column in columns]
        self._before = "[\n"

    def add(self, rows: Sequence[Sequence[Value]]) -> None:
        for row in rows:
            values = [value if isinstance(value, int | None) else _as_text(value) for value in row]
            document = dict(zip(self._names, values, strict=True))
            self._text.write(self._before + json.dumps(document, ensure_ascii=False))
            self._before = ",\n"

    def finish(self) -> None:
        self._text.write("[]\n" if self._before == "[\n" else "\n]\n")


@contextmanager
def _json_writer(stream: BinaryIO, columns: Sequence[Column]) -> Iterator[TableWriter]:
    with _text(stream) as text:
        writer = _JsonWriter(text, columns)
        yield writer
        writer.finish()


class _ParquetWriter:
    def __init__(self, target: "parquet.ParquetWriter", schema: "pa.Schema") -> None:
        self._target = target
        self._schema = schema

    def add(self, rows: Sequence[Sequence[Value]]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - an extra

        if rows:
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(zip(*rows, strict=True), self._schema, strict=True)
            ]
            self._target.write_batch(pa.record_batch(arrays, schema=self._schema))


@contextmanager
def _parquet_writer(stream: BinaryIO, columns: Sequence[Column]) -> Iterator[TableWriter]:
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    schema = _schema(columns)
    with parquet.ParquetWriter(stream, schema) as target:
        yield _ParquetWriter(target, schema)


def _schema(columns: Iterable[Column]) -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types: Mapping[ColumnKind, pa.DataType] = {
        ColumnKind.TEXT: pa.string(),
        ColumnKind.WHOLE: pa.int64(),
        ColumnKind.DATE: pa.date32(),
        ColumnKind.INSTANT: pa.timestamp("us", tz="UTC"),
        ColumnKind.AMOUNT: pa.decimal128(24, 4),
        ColumnKind.PERCENTAGE: pa.decimal128(9, 6),
    }
    return pa.schema([(column.name, types[column.kind]) for column in columns])


def _as_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date) else str(value)


_WRITERS: Final = {
    TableFormat.CSV: _csv_writer,
    TableFormat.JSON: _json_writer,
    TableFormat.PARQUET: _parquet_writer,
}
