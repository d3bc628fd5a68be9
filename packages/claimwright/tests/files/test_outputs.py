"""Files that are written: whole or not at all, amounts exact."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import LARGEST_AMOUNT_MINOR, from_minor, to_minor
from claimwright.files.atomic import replacing
from claimwright.files.csv_rows import CsvRows
from claimwright.files.mapping import RowMapper
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.files.quarantine import QuarantineFile
from claimwright.files.rows import Dialect, RefusedRow, Row
from claimwright.files.tables import (
    PARQUET_TYPES,
    Column,
    ColumnKind,
    TableFormat,
    Value,
    format_of,
    table_writer,
)

COLUMNS = (
    Column("name", ColumnKind.TEXT, ""),
    Column("amount", ColumnKind.AMOUNT, ""),
    Column("number", ColumnKind.WHOLE, ""),
    Column("day", ColumnKind.DATE, ""),
    Column("at", ColumnKind.INSTANT, ""),
)
ROW: list[Value] = [
    'a "b", c\nd',
    Decimal("0.10"),
    7,
    date(2013, 6, 7),
    datetime(2013, 6, 7, 14, tzinfo=UTC),
]
AMOUNTS = st.lists(
    st.tuples(st.integers(1, LARGEST_AMOUNT_MINOR), st.sampled_from(["JPY", "USD", "KWD", "CLF"])),
    max_size=20,
)


def written(table_format: TableFormat, rows: list[list[Value]]) -> bytes:
    stream = io.BytesIO()
    with table_writer(table_format, stream, COLUMNS) as writer:
        writer.add(rows[:1])
        writer.add(rows[1:])
    return stream.getvalue()


@settings(deadline=None)  # the machine may be busy
@given(amounts=AMOUNTS)
def test_amounts_of_any_currency_come_back_from_every_format_to_the_minor_unit(
    amounts: list[tuple[int, str]],
) -> None:
    rows: list[list[Value]] = [
        [currency, from_minor(minor, currency), *ROW[2:]] for minor, currency in amounts
    ]
    read_csv = csv.DictReader(io.StringIO(written(TableFormat.CSV, rows).decode()))
    from_csv = [to_minor(row["amount"], row["name"]) for row in read_csv]
    read_json = json.loads(written(TableFormat.JSON, rows))
    from_json = [to_minor(row["amount"], row["name"]) for row in read_json]
    table = parquet.read_table(io.BytesIO(written(TableFormat.PARQUET, rows)))
    from_parquet = [to_minor(row["amount"], row["name"]) for row in table.to_pylist()]
    assert from_csv == from_json == from_parquet == [minor for minor, _ in amounts]


def test_csv_and_json_hold_the_same_text_and_parquet_has_types() -> None:
    (from_csv,) = csv.DictReader(io.StringIO(written(TableFormat.CSV, [ROW]).decode()))
    (from_json,) = json.loads(written(TableFormat.JSON, [ROW]))
    assert from_csv == {**from_json, "number": "7"}
    assert from_csv["amount"] == "0.10"
    (from_parquet,) = parquet.read_table(
        io.BytesIO(written(TableFormat.PARQUET, [ROW]))
    ).to_pylist()
    assert list(from_parquet.values()) == ROW


def test_parquet_has_the_documented_type_of_every_kind() -> None:
    columns = [Column(kind.value, kind, "") for kind in ColumnKind]
    stream = io.BytesIO()
    with table_writer(TableFormat.PARQUET, stream, columns):
        pass
    schema = parquet.read_schema(io.BytesIO(stream.getvalue()))
    assert {field.name: str(field.type) for field in schema} == PARQUET_TYPES


def test_a_table_without_rows_is_still_a_table() -> None:
    assert written(TableFormat.CSV, []) == b"name,amount,number,day,at\n"
    assert json.loads(written(TableFormat.JSON, [])) == []
    assert parquet.read_table(io.BytesIO(written(TableFormat.PARQUET, []))).num_rows == 0


def test_a_suffix_names_the_format_and_another_one_is_an_error() -> None:
    assert format_of(Path("a/claims.Parquet")) is TableFormat.PARQUET
    with pytest.raises(InvalidInputError, match=r"claims.xlsx ends in none of .csv, .json"):
        format_of(Path("claims.xlsx"))


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with replacing(path) as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_when_it_is_complete_and_a_link_keeps_its_place(tmp_path: Path) -> None:
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    with replacing(link) as stream:
        stream.write(b"whole")
        assert not target.exists()
    assert link.is_symlink()
    assert target.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", [".", "none/claims.csv"])
def test_a_path_that_cannot_be_a_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError), replacing(tmp_path / name):
        pass


def test_a_lost_server_is_not_reported_as_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError), replacing(tmp_path / "claims.csv"):
        raise ConnectionRefusedError


def test_a_quarantine_file_can_be_imported_with_the_mapping_of_its_source(tmp_path: Path) -> None:
    mapping = mapping_from_toml(
        '[file]\ndelimiter = ";"\nencoding = "latin-1"\n[region]\ncolumn = "place"\n'
        '[observed_at]\ncolumn = "at"\n[[variables]]\nname = "rain"\nunit = "mm"\n'
    )
    source, path = tmp_path / "a.csv", tmp_path / "q.csv"
    with QuarantineFile(path, source, ("place", "at", "rain"), mapping.dialect) as file:
        file.add(RefusedRow(7, 'no; "number"', ("Zürich", "2013-01-01T00:00:00Z", "1")))
        file.add(RefusedRow(9, "ragged", ("Zürich \u2192",)))
        assert not path.exists()
    with CsvRows(path, mapping.dialect) as rows:
        mended, ragged = list(rows)
        assert isinstance(mended, Row)
        assert RowMapper(mapping, rows.columns).readings(mended.cells)[0].region == "Zürich"
        assert mended.cells[:2] == ["7", 'no; "number"']
    assert ragged.cells[-1] == "Zürich \\u2192"


def test_no_refused_rows_and_no_error_leave_no_quarantine_file(tmp_path: Path) -> None:
    with QuarantineFile(tmp_path / "q.csv", tmp_path / "a.csv", ("a",), Dialect()) as file:
        assert file.written is None

    def fail() -> None:
        with QuarantineFile(tmp_path / "q.csv", tmp_path / "a.csv", ("a",), Dialect()) as again:
            again.add(RefusedRow(2, "bad", ("1",)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_quarantine_file_never_replaces_its_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="would replace its source"):
        QuarantineFile(tmp_path / "a.csv", tmp_path / "b/../a.csv", ("a",), Dialect())
