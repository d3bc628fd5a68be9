"""CSV: every row that can be read is read, whatever stands in the rows around it."""

import csv
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claimwright.domain.errors import InvalidInputError
from claimwright.files.csv_rows import CsvRows
from claimwright.files.rows import Dialect, RefusedRow, Row


def read(path: Path, content: bytes, **dialect: str) -> tuple[list[Row], list[RefusedRow]]:
    path.write_bytes(content)
    with CsvRows(path, Dialect(**dialect)) as rows:
        found = list(rows)
    good = [row for row in found if isinstance(row, Row)]
    return good, [row for row in found if isinstance(row, RefusedRow)]


def test_rows_carry_the_number_of_their_line_and_blank_lines_are_none(tmp_path: Path) -> None:
    good, refused = read(tmp_path / "a.csv", b'a,b\n1,2\n\n"3\n3",4\n5,6')
    assert [(row.number, list(row.cells)) for row in good] == [
        (2, ["1", "2"]),
        (4, ["3\n3", "4"]),
        (6, ["5", "6"]),
    ]
    assert not refused


def test_a_byte_order_mark_is_no_part_of_the_first_columns_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    with CsvRows(path, Dialect()) as rows:
        assert rows.columns == ("a", "b")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,\xff", "byte 3 of the line is not utf-8"),
        (b"1", "it has 1 cell, the header 2"),
        (b"1,2,3", "it has 3 cells, the header 2"),
        (b"1,a\0b", "cell 2 contains a NUL"),
        (b"1," + b"x" * 10_001, "cell 2 has 10,001 characters; a cell has at most 10,000"),
        (b"1," + b"x" * 200_000, "field larger than field limit"),
        (b"1," + b"x" * 2**21, "the line is longer than 1,048,576 bytes"),
        (b'1,"x"y', "expected after"),
        (b"1" + b",2" * 5_000, "it has 5,001 cells, the header 2"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason_and_its_neighbours_are_kept(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good, refused = read(tmp_path / "a.csv", b"a,b\n0,0\n" + line + b"\n9,9\n")
    assert [row.number for row in good] == [2, 4]
    assert [row.number for row in refused] == [3]
    assert reason in refused[0].reason
    assert len(refused[0].cells) <= 1_000
    assert all(len(cell or "") <= 10_000 for cell in refused[0].cells)


def test_a_quotation_mark_nobody_closes_costs_its_own_row_alone(tmp_path: Path) -> None:
    lines = [b"a,b", *(b"%d,x" % number for number in range(2, 3_000))]
    lines[100] = b'oops,"x'
    good, refused = read(tmp_path / "a.csv", b"\n".join(lines))
    assert [row.number for row in refused] == [101]
    assert "quotation mark" in refused[0].reason
    assert len(good) == len(lines) - 2


def test_a_quotation_mark_in_the_last_row_is_refused_without_an_end(tmp_path: Path) -> None:
    good, refused = read(tmp_path / "a.csv", b'a,b\n1,"2\n3,4\n')
    assert [row.number for row in refused] == [2]
    assert [row.number for row in good] == [3]


def test_a_stray_mark_that_a_later_one_closes_still_costs_its_own_row_alone(
    tmp_path: Path,
) -> None:
    good, refused = read(tmp_path / "a.csv", b'a,b\n1,"2\n3,4\n5,"6"\n7,8\n')
    assert [row.number for row in refused] == [2]
    assert [row.number for row in good] == [3, 4, 5]


def test_bytes_that_are_no_text_inside_an_open_cell_cost_only_their_rows(tmp_path: Path) -> None:
    good, refused = read(tmp_path / "a.csv", b'a,b\n1,"2\n3,\xff\n5,6\n')
    assert [row.number for row in refused] == [2, 3]
    assert [row.number for row in good] == [4]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b",,\n"])
def test_a_file_without_a_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="no header"):
        read(tmp_path / "a.csv", content)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"a,\xff\n", "row 1: byte 3 of the line is not utf-8"),
        (b"a\0,b\n", "row 1: cell 1 contains a NUL"),
        (b",".join([b"a"] * 1_001) + b"\n", "row 1: it has 1,001 cells"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error_that_names_its_row(
    tmp_path: Path, header: bytes, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        read(tmp_path / "a.csv", header)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless file")
def test_a_header_without_end_is_an_error_before_much_of_it_is_read(tmp_path: Path) -> None:
    limit = "row 1: the line is longer than 1,048,576 bytes"
    with pytest.raises(InvalidInputError, match=f"/dev/zero, {limit}"):
        CsvRows(Path("/dev/zero"), Dialect())
    with flowing(tmp_path, b"a" * 2**20) as path, pytest.raises(InvalidInputError, match=limit):
        CsvRows(path, Dialect())  # whose writer waits for it to go: more is never there


def test_a_line_without_end_is_an_error_that_names_it_and_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n1,2\n3,")
        file.truncate(2**27)
    with CsvRows(path, Dialect()) as rows:
        found = iter(rows)
        assert next(found) == Row(2, ["1", "2"])
        refused = next(found)
        assert isinstance(refused, RefusedRow)
        assert (refused.number, refused.reason) == (3, "the line is longer than 1,048,576 bytes")
        with pytest.raises(InvalidInputError, match=r"row 3: .* not ended after 67,108,864 bytes"):
            next(found)
        assert rows.progress.done < 2**27


def test_blank_lines_without_end_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n" + b"\n" * 1_000_001 + b"3,4\n")
    limit = "row 1000003: more than 1,000,000 blank lines"
    with CsvRows(path, Dialect()) as rows, pytest.raises(InvalidInputError, match=limit):
        list(rows)
    path.write_bytes(b"a,b\n1,2\n" + b"\n" * 1_000_000 + b"3,4\n")
    with CsvRows(path, Dialect()) as rows:
        assert len(list(rows)) == 2


def test_a_quotation_mark_without_end_is_refused_before_much_of_it_is_read(tmp_path: Path) -> None:
    with (
        flowing(tmp_path, b'a,b\n1,"2\n' + b"x\n" * 2**20) as path,
        CsvRows(path, Dialect()) as rows,
    ):
        refused = next(iter(rows))
    assert isinstance(refused, RefusedRow)
    assert refused.number == 2
    assert "quotation mark" in refused.reason


def test_a_stream_that_has_no_place_is_read_as_a_file_is(tmp_path: Path) -> None:
    with flowing(tmp_path, b"a,b\n1,2\n", whole=True) as path, CsvRows(path, Dialect()) as rows:
        assert list(rows) == [Row(2, ["1", "2"])]
        assert rows.progress.total == 0


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no such file")
def test_a_file_that_fails_is_an_error_that_names_the_row_before() -> None:
    with pytest.raises(InvalidInputError, match="cannot be read after row 0: Input/output error"):
        CsvRows(Path("/proc/self/mem"), Dialect())


@contextmanager
def flowing(folder: Path, content: bytes, *, whole: bool = False) -> Iterator[Path]:
    """A pipe with that content, which ends after it where it is whole, and else never."""
    path = folder / "pipe"
    os.mkfifo(path)
    left = threading.Event()

    def write() -> None:
        with suppress(BrokenPipeError), path.open("wb", buffering=0) as pipe:
            pipe.write(content)
            if not whole:
                left.wait()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield path
    finally:
        left.set()
        writer.join()
        path.unlink()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere.csv cannot be read: No such file"):
        CsvRows(tmp_path / "nowhere.csv", Dialect())


@pytest.mark.parametrize("encoding", ["utf-16", "rot13", "hex", "nonsense", "utf-32-le"])
def test_an_encoding_whose_lines_cannot_be_found_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a text encoding"):
        Dialect(encoding=encoding)


def test_another_encoding_and_delimiter_are_read_as_they_are_said_to_be(tmp_path: Path) -> None:
    good, _ = read(tmp_path / "a.csv", "a;b\nZürich;1,5\n".encode("latin-1"),
                   encoding="latin-1", delimiter=";")  # fmt: skip
    assert list(good[0].cells) == ["Zürich", "1,5"]


_CELLS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12
)


@given(rows=st.lists(st.lists(_CELLS, min_size=3, max_size=3), max_size=8))
@settings(max_examples=150, deadline=None)
def test_whatever_the_csv_module_writes_is_read_back(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["a", "b", "c"], *rows])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    good, refused = read(path, text.getvalue().encode())
    assert [list(row.cells) for row in good] == rows
    assert not refused
