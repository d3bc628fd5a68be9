"""Parquet files, with the extra ``claimwright[parquet]``: their values as exact text."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from claimwright.domain.errors import InvalidInputError
from claimwright.files.rows import (
    FileProgress,
    RefusedRow,
    Row,
    fault_of_cells,
    positions_of,
    shortened,
)

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE: Final = 5_000


def require_parquet() -> None:
    """See that Parquet can be read and written.

    Raises:
        InvalidInputError: it cannot; the error names what to install.
    """
    if find_spec("pyarrow") is None:
        raise InvalidInputError("Parquet needs an extra: pip install 'claimwright[parquet]'")


class ParquetRows:
    """The wanted columns of a Parquet file; a context manager, read once. Rows count from 1.

    Every value becomes its shortest exact text: a timestamp its ISO form, a decimal its digits, a
    floating-point number the shortest text that means the same number, a null no value.

    Raises:
        InvalidInputError: the extra is not installed, the file is not Parquet, or it lacks a
            wanted column.
    """

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        require_parquet()
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415 - an extra

        try:
            self._file = parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"{path} is not a Parquet file: {_first_line(error)}") from None
        names = self._file.schema_arrow.names
        positions_of(names, wanted)
        self._columns = tuple(dict.fromkeys(wanted))
        self._total = self._file.metadata.num_rows
        self._done = 0
        self._path = path

    @property
    def columns(self) -> tuple[str, ...]:
        """The wanted columns, each once."""
        return self._columns

    @property
    def progress(self) -> FileProgress:
        """Rows read, and rows there are."""
        return FileProgress(self._done, self._total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Row | RefusedRow]:
        import pyarrow as pa  # noqa: PLC0415 - an extra

        batches = self._file.iter_batches(_ROWS_AT_ONCE, columns=list(self._columns))
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise InvalidInputError(
                    f"{self._path} cannot be read after row {self._done:,}: {_first_line(error)}"
                ) from None
            if batch is None:
                return
            texts = [_texts(name, batch.column(name)) for name in self._columns]
            for cells in zip(*texts, strict=True):
                self._done += 1
                fault = fault_of_cells(cells)
                yield (
                    RefusedRow(self._done, fault, shortened(cells))
                    if fault
                    else Row(self._done, cells)
                )


def _texts(name: str, column: "pa.Array[pa.Scalar[pa.DataType]]") -> list[str | None]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    try:
        return column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise InvalidInputError(
            f"column {name!r} holds {column.type}, which is neither text, a number nor an instant"
        ) from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
