"""Parquet: the same text as CSV would hold, and clear errors."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from claimwright.domain.errors import InvalidInputError
from claimwright.files.parquet_rows import ParquetRows, require_parquet
from claimwright.files.rows import RefusedRow


def table(tmp_path: Path, **columns: "pa.Array[pa.Scalar[pa.DataType]]") -> Path:
    path = tmp_path / "readings.parquet"
    parquet.write_table(pa.table(dict(columns)), path)
    return path


def test_values_of_every_type_become_their_exact_text(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        text=pa.array(["JFK", None]),
        number=pa.array([7, -7]),
        exact=pa.array([Decimal("1.50"), None], pa.decimal128(6, 2)),
        double=pa.array([0.1, 10.357019999999999]),
        single=pa.array([0.1, 1.5], pa.float32()),
        at=pa.array([datetime(2013, 6, 7, 14, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
        repeated=pa.array(["a", "a"]).dictionary_encode(),
        unused=pa.array([[1], [2]]),
    )
    wanted = ["text", "number", "exact", "double", "single", "at", "repeated"]
    with ParquetRows(path, wanted) as rows:
        first, second = list(rows)
        assert rows.progress == (2, 2)
    assert first.cells[:5] == ("JFK", "7", "1.50", "0.1", "0.1")
    assert datetime.fromisoformat(first.cells[5] or "") == datetime(2013, 6, 7, 14, tzinfo=UTC)
    assert second.cells[:4] == (None, "-7", None, "10.357019999999999")
    assert (first.number, second.number) == (1, 2)


def test_a_cell_beyond_bounds_refuses_its_row(tmp_path: Path) -> None:
    path = table(tmp_path, a=pa.array(["x" * 10_001, "b\0", "c"]))
    with ParquetRows(path, ["a"]) as rows:
        found = list(rows)
    assert [isinstance(row, RefusedRow) for row in found] == [True, True, False]


def test_a_column_of_lists_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        ParquetRows(table(tmp_path, a=pa.array([[1], [2]])), ["a"]) as rows,
        pytest.raises(InvalidInputError, match="column 'a' holds list"),
    ):
        list(rows)


def test_a_missing_column_and_a_file_that_is_not_parquet_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no column 'b'; it has 'a'"):
        ParquetRows(table(tmp_path, a=pa.array([1])), ["b"])
    path = tmp_path / "no.parquet"
    path.write_bytes(b"a,b\n")
    with pytest.raises(InvalidInputError, match="is not a Parquet file"):
        ParquetRows(path, ["a"])
    with pytest.raises(InvalidInputError, match="is not a Parquet file"):
        ParquetRows(tmp_path / "nowhere.parquet", ["a"])


def test_without_the_extra_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What Python itself takes for a module that is not there.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'claimwright\[parquet\]'"):
        require_parquet()
