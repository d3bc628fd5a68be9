"""Result tables in the aligned format of libpq's ``PQprint``."""

from collections.abc import Sequence

NUMERIC_BYTES = frozenset(b"0123456789.Ee -")
DIGITS = frozenset(b"0123456789")

Row = Sequence[bytes | None]


def aligned_table(names: Sequence[bytes], rows: Sequence[Row]) -> bytes:
    """Return a header, a rule, the rows and their count with an empty line after it.

    A column whose values all look like numbers is aligned to the right, one without values too;
    widths are counted in bytes; NULL and the empty text look the same. A result without columns
    prints nothing at all.
    """
    if not names:
        return b""
    columns = [[row[index] or b"" for row in rows] for index in range(len(names))]
    widths = [max(map(len, (name, *column))) for name, column in zip(names, columns, strict=True)]
    numeric = [all(map(_looks_numeric, column)) for column in columns]
    lines = [
        _line(names, widths, numeric),
        b"+".join(b"-" * width for width in widths),
        *(_line(row, widths, numeric) for row in rows),
        b"(%d row%s)" % (len(rows), b"" if len(rows) == 1 else b"s"),
    ]
    return b"\n".join(lines) + b"\n\n"


def _line(values: Row, widths: Sequence[int], numeric: Sequence[bool]) -> bytes:
    return b"|".join(
        (value or b"").rjust(width) if right else (value or b"").ljust(width)
        for value, width, right in zip(values, widths, numeric, strict=True)
    )


def _looks_numeric(value: bytes) -> bool:
    """Follow PQprint: only these bytes, no exponent first, a digit last; empty does not matter."""
    if not value:
        return True
    return NUMERIC_BYTES.issuperset(value) and value[0] not in b"Ee" and value[-1] in DIGITS
