"""The quarantine file: refused rows with their numbers and reasons, ready to be mended."""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from claimwright.domain.errors import InvalidInputError
from claimwright.files.atomic import replacing
from claimwright.files.rows import Dialect, RefusedRow

ROW_COLUMN: Final = "row"
REASON_COLUMN: Final = "reason"
#: How much a quarantine file holds unless somebody says otherwise: a disk is not filled in silence.
QUARANTINE_MIB: Final = 1024
_MIB: Final = 2**20


def quarantine_beside(source: Path) -> Path:
    """Where the refused rows of a file go unless somebody says otherwise.

    Those of a pipe or a device go to the current folder: what is beside ``/dev/stdin`` is no place
    for them.
    """
    name = f"{source.name}.quarantine.csv"
    is_special = source.exists() and not source.is_file()
    return Path(name) if is_special else source.with_name(name)


class QuarantineFile:
    """Refused rows as CSV: ``row``, ``reason``, then the cells as they were.

    A context manager. When it ``is_full`` no further row should be read; that is counted without a
    ``path`` too, so that a dry run ends where the import would.

    The file is begun with the first refused row and appears at the end of the block; without
    refused rows, or after an error, there is none. It has the dialect of its source, so that the
    mended rows can be imported like the source was.

    Raises:
        InvalidInputError: it would replace its source, or cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        source: Path,
        columns: Sequence[str],
        dialect: Dialect,
        *,
        most_mib: int = QUARANTINE_MIB,
    ) -> None:
        if path is not None and path.resolve() == source.resolve():
            raise InvalidInputError(f"the quarantine file {path} would replace its source")
        self._path = path
        self._columns = columns
        self._dialect = dialect
        self._characters_left = most_mib * _MIB
        self._stack = ExitStack()
        self._writer: Any = None

    @property
    def written(self) -> Path | None:
        """The file, where there were rows to write."""
        return self._path if self._writer is not None else None

    @property
    def is_full(self) -> bool:
        """Whether the rows have reached the file's size, counted in characters."""
        return self._characters_left <= 0

    def add(self, refused: RefusedRow) -> None:
        """Write one more row."""
        self._characters_left -= len(refused.reason) + sum(len(c or "") + 1 for c in refused.cells)
        if self._path is None:
            return
        try:
            if self._writer is None:
                self._writer = self._begin(self._path)
            self._writer.writerow([refused.number, refused.reason, *refused.cells])
        except OSError as error:
            raise InvalidInputError(f"{self._path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _begin(self, path: Path) -> Any:  # noqa: ANN401 - the csv module does not name its writer
        stream = self._stack.enter_context(replacing(path))
        text = TextIOWrapper(
            stream,
            self._dialect.encoding,
            errors="backslashreplace",
            newline="",
            write_through=True,
        )
        self._stack.callback(text.detach)
        writer = csv.writer(text, delimiter=self._dialect.delimiter, lineterminator="\n")
        writer.writerow([ROW_COLUMN, REASON_COLUMN, *self._columns])
        return writer
