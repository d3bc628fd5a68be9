"""Tables are aligned as libpq's PQprint aligns them."""

import pytest

from contention.isolation.tables import aligned_table


def is_right_aligned(value: bytes) -> bool:
    header = aligned_table([b"wide name"], [[value]]).splitlines()[2]
    return header.startswith(b" ")


@pytest.mark.parametrize("value", [b"1", b"-1", b"1.5", b"1e5", b"1 2", b"12-3", b" 7"])
def test_values_of_numeric_bytes_that_end_with_a_digit_go_right(value: bytes) -> None:
    assert is_right_aligned(value)


@pytest.mark.parametrize("value", [b"x", b"5.", b"e5", b"E5", b"1-", b"1,5", b"+1", b"1\xc3\xbc2"])
def test_other_values_go_left(value: bytes) -> None:
    assert not is_right_aligned(value)


def test_one_text_turns_the_whole_column_left_and_empty_values_do_not() -> None:
    table = aligned_table([b"n", b"t"], [[b"1", b"1"], [b"22", None], [b"333", b"x"]])
    assert table == b"  n|t\n---+-\n  1|1\n 22| \n333|x\n(3 rows)\n\n"


def test_widths_count_bytes_and_rows_are_counted() -> None:
    assert aligned_table(["ü".encode()], [[b"a"]]) == "ü\n--\na \n(1 row)\n\n".encode()
    assert aligned_table([b"n"], []) == b"n\n-\n(0 rows)\n\n"


def test_a_result_without_columns_prints_nothing() -> None:
    assert aligned_table([], [[], []]) == b""
