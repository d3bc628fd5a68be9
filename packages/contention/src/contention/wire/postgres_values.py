"""PostgreSQL's values as short text for people: parameters and the first rows of a reply.

Binary forms: the ``*_send`` functions of PostgreSQL's ``src/backend/utils/adt``; type numbers:
``src/include/catalog/pg_type.dat``. What is not known is shown in hexadecimal.
"""

import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

SHOWN_CHARACTERS = 120
"""Longer values are cut, with an ellipsis."""

_INT2, _INT4, _INT8 = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_UINT4 = struct.Struct(">I")
_FLOAT4, _FLOAT8 = struct.Struct(">f"), struct.Struct(">d")
_EPOCH_DATE = date(2000, 1, 1)
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's epoch is counted in the value's own time
_MAX_DIMENSIONS = 6
_SHOWN_ELEMENTS = 20

_BOOL, _BYTEA, _TEXT, _JSONB, _UUID = 16, 17, 25, 3802, 2950
_DATE, _TIMESTAMP, _TIMESTAMPTZ, _NUMERIC = 1082, 1114, 1184, 1700
_INTEGERS = {21: _INT2, 23: _INT4, 20: _INT8, 26: _UINT4}
_TEXTS = frozenset({_TEXT, 1043, 1042, 19, 114, 705, 18})
"""text, varchar, bpchar, name, json, unknown, "char": their binary form is their text."""
_BARE_IN_TEXT = frozenset({*_INTEGERS, _BOOL, _NUMERIC, 700, 701})
_ARRAYS = frozenset(
    {1000, 1001, 1005, 1007, 1016, 1021, 1022, 1009, 1015, 1014, 1003, 2951, 1182, 1115, 1185}
    | {1231, 199, 3807, 1028}
)


def readable(value: bytes | None, type_oid: int, *, is_binary: bool, encoding: str) -> str:
    """A value as an SQL literal, cut after `SHOWN_CHARACTERS`.

    Args:
        value: as it stood in a message; None is NULL.
        type_oid: 0 when it is not known.
        is_binary: its format code.
        encoding: Python's name of the session's encoding.
    """
    if value is None:
        return "NULL"
    if not is_binary:
        text = _decoded(value, encoding)
        return shortened(text if type_oid in _BARE_IN_TEXT else _quoted(text))
    try:
        return shortened(_binary(value, type_oid, encoding))
    except (struct.error, ValueError, OverflowError, IndexError):
        return _hexadecimal(value)


def shortened(text: str) -> str:
    """The text, cut with an ellipsis when it is long."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _decoded(value: bytes, encoding: str) -> str:
    """The beginning of a text; a character has at most four bytes."""
    return value[: 4 * SHOWN_CHARACTERS].decode(encoding, "backslashreplace")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _hexadecimal(value: bytes) -> str:
    return shortened("'\\x" + value[:SHOWN_CHARACTERS].hex() + "'")


def _binary(value: bytes, type_oid: int, encoding: str) -> str:
    if type_oid in _INTEGERS:
        return str(_INTEGERS[type_oid].unpack(value)[0])
    if type_oid in _TEXTS:
        return _quoted(_decoded(value, encoding))
    if type_oid in _ARRAYS:
        return _array(value, encoding)
    decode = _DECODERS.get(type_oid)
    return decode(value, encoding) if decode else _hexadecimal(value)


def _bool(value: bytes, _encoding: str) -> str:
    return "true" if value[0] else "false"


def _float4(value: bytes, _encoding: str) -> str:
    """The shortest decimal that gives the same four bytes."""
    (number,) = _FLOAT4.unpack(value)
    texts = (f"{number:.{digits}g}" for digits in range(1, 10))
    return next((text for text in texts if _FLOAT4.pack(float(text)) == value), repr(number))


def _float8(value: bytes, _encoding: str) -> str:
    return repr(_FLOAT8.unpack(value)[0])


def _uuid(value: bytes, _encoding: str) -> str:
    return _quoted(str(UUID(bytes=value)))


def _jsonb(value: bytes, encoding: str) -> str:
    if value[:1] != b"\x01":
        raise ValueError("only version 1 of jsonb's binary form is known")
    return _quoted(_decoded(value[1:], encoding))


def _date(value: bytes, _encoding: str) -> str:
    (days,) = _INT4.unpack(value)
    return _infinite(days, 31) or _quoted((_EPOCH_DATE + timedelta(days=days)).isoformat())


def _timestamp(value: bytes, _encoding: str) -> str:
    (microseconds,) = _INT8.unpack(value)
    instant = _infinite(microseconds, 63)
    return instant or _quoted(str(_EPOCH + timedelta(microseconds=microseconds)))


def _timestamptz(value: bytes, encoding: str) -> str:
    text = _timestamp(value, encoding)
    return text if "infinity" in text else text[:-1] + "+00'"


def _infinite(number: int, bits: int) -> str:
    """PostgreSQL's infinities are the ends of the integer's range."""
    return {2**bits - 1: "'infinity'", -(2**bits): "'-infinity'"}.get(number, "")


_NUMERIC_SPECIALS = {0xC000: "'NaN'", 0xD000: "'Infinity'", 0xF000: "'-Infinity'"}
_NUMERIC_NEGATIVE = 0x4000
_NUMERIC_HEADER = struct.Struct(">HhHH")
_DIGITS_PER_GROUP = 4


def _numeric(value: bytes, _encoding: str) -> str:
    """Groups of four decimal digits; ``weight`` is the power of 10,000 of the first."""
    count, weight, sign, scale = _NUMERIC_HEADER.unpack_from(value)
    if sign in _NUMERIC_SPECIALS:
        return _NUMERIC_SPECIALS[sign]
    groups = struct.unpack_from(f">{count}H", value, _NUMERIC_HEADER.size)
    digits = "".join(f"{group:04d}" for group in groups) or "0"
    exponent = _DIGITS_PER_GROUP * (weight + 1 - count)
    number = Decimal((int(sign == _NUMERIC_NEGATIVE), tuple(map(int, digits)), exponent))
    whole, _, fraction = f"{number:f}".partition(".")
    whole = whole[:-1].lstrip("0") + whole[-1] if whole[0] != "-" else _negative(whole)
    return f"{whole}.{fraction[:scale]:0<{scale}}" if scale else whole


def _negative(whole: str) -> str:
    return "-" + whole[1:-1].lstrip("0") + whole[-1]


_DECODERS: dict[int, Callable[[bytes, str], str]] = {
    _BOOL: _bool,
    700: _float4,
    701: _float8,
    _UUID: _uuid,
    _JSONB: _jsonb,
    _DATE: _date,
    _TIMESTAMP: _timestamp,
    _TIMESTAMPTZ: _timestamptz,
    _NUMERIC: _numeric,
}
_ARRAY_HEADER = struct.Struct(">iiI")
_DIMENSION = struct.Struct(">ii")


def _array(value: bytes, encoding: str) -> str:
    dimensions, _, element_oid = _ARRAY_HEADER.unpack_from(value)
    if not 0 <= dimensions <= _MAX_DIMENSIONS:
        raise ValueError("too many dimensions")
    position = _ARRAY_HEADER.size + dimensions * _DIMENSION.size
    lengths = [
        _DIMENSION.unpack_from(value, _ARRAY_HEADER.size + index * _DIMENSION.size)[0]
        for index in range(dimensions)
    ]
    elements = _elements(value, position, element_oid, encoding)
    return "ARRAY[" + _nested(elements, lengths) + "]"


def _elements(value: bytes, position: int, element_oid: int, encoding: str) -> list[str]:
    shown: list[str] = []
    while position < len(value):
        if len(shown) == _SHOWN_ELEMENTS:
            return [*shown, "…"]
        (length,) = _INT4.unpack_from(value, position)
        position += _INT4.size
        content = None if length < 0 else value[position : position + length]
        position += max(length, 0)
        shown.append(readable(content, element_oid, is_binary=True, encoding=encoding))
    return shown


def _nested(elements: list[str], lengths: list[int]) -> str:
    """The elements with the brackets of their dimensions; flat when they were cut."""
    if len(lengths) <= 1 or "…" in elements:
        return ", ".join(elements)
    inner = max(1, len(elements) // max(1, lengths[0]))
    rows = [elements[start : start + inner] for start in range(0, len(elements), inner)]
    return ", ".join(f"[{_nested(row, lengths[1:])}]" for row in rows)
