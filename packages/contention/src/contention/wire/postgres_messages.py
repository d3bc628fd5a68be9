"""The bodies of PostgreSQL's messages, read.

Layouts: PostgreSQL documentation, chapter 54.7. Readers raise ValueError, IndexError or
struct.error on bodies that do not follow them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HEADER_SIZE = 5
LENGTH = struct.Struct(">I")
_INT16 = struct.Struct(">H")
_INT32 = struct.Struct(">i")
_COLUMN_TAIL = struct.Struct(">IhIhih")

BROKEN_BODY = (ValueError, IndexError, struct.error)
"""What the readers raise."""

MAX_MESSAGE_BYTES = 2**30
"""No message of a server or client is larger (MaxAllocSize of PostgreSQL)."""
MAX_STARTUP_BYTES = 10_000
"""MAX_STARTUP_PACKET_LENGTH of PostgreSQL's ``pqcomm.h``."""

CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
SUPPORTED_MAJOR = 3


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a RowDescription."""

    name: str
    type_oid: int
    is_binary: bool


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """An error or a notice, by its fields; those that were not sent are empty."""

    severity: str
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
    where: str = ""
    schema: str = ""
    table: str = ""
    constraint: str = ""

    @property
    def ends_connection(self) -> bool:
        """Whether the server closes the connection after it."""
        return self.severity in {"FATAL", "PANIC"}


@dataclass(frozen=True, slots=True)
class Notification:
    """What another session's NOTIFY, or one's own, sent."""

    process_id: int
    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class ParameterStatus:
    """A setting of the session that the server reports."""

    name: str
    value: str


_PYTHON_ENCODINGS = {
    "SQL_ASCII": "utf-8",
    "UTF8": "utf-8",
    "LATIN1": "latin-1",
    "LATIN9": "iso8859-15",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "EUC_JP": "euc-jp",
    "EUC_KR": "euc-kr",
    "KOI8R": "koi8-r",
}


def python_encoding(client_encoding: str) -> str:
    """Python's name for a ``client_encoding``; others are read as UTF-8 with escapes."""
    return _PYTHON_ENCODINGS.get(client_encoding.upper(), "utf-8")


def c_string(body: bytes, position: int) -> tuple[bytes, int]:
    """A string that ends in a zero byte, and the position behind it."""
    end = body.index(0, position)
    return body[position:end], end + 1


def texts(body: bytes, encoding: str = "utf-8") -> list[str]:
    """All strings of a body that is nothing but strings."""
    return [part.decode(encoding, "backslashreplace") for part in body.split(b"\0")[:-1]]


def read_startup(body: bytes) -> Mapping[str, str]:
    """The parameters of a StartupMessage, from behind its protocol version."""
    parts = texts(body)
    return MappingProxyType(dict(zip(parts[0::2], parts[1::2], strict=False)))


def read_parse(body: bytes) -> tuple[bytes, bytes, tuple[int, ...]]:
    """Name of the statement, SQL text, type numbers of the parameters that have one."""
    name, position = c_string(body, 0)
    sql, position = c_string(body, position)
    (count,) = _INT16.unpack_from(body, position)
    return name, sql, struct.unpack_from(f">{count}I", body, position + 2) if count else ()


def read_bind_names(body: bytes) -> tuple[bytes, bytes, int]:
    """Name of the portal, name of the statement, and where the values begin."""
    portal, position = c_string(body, 0)
    statement, position = c_string(body, position)
    return portal, statement, position


def read_bind_values(
    body: bytes, position: int
) -> tuple[list[tuple[bytes | None, bool]], tuple[bool, ...]]:
    """Each parameter with whether it is binary, and whether each result column will be."""
    formats, position = _formats(body, position)
    (count,) = _INT16.unpack_from(body, position)
    position += 2
    values: list[tuple[bytes | None, bool]] = []
    for index in range(count):
        value, position = _value(body, position)
        values.append((value, format_of(formats, index)))
    results, _ = _formats(body, position)
    return values, results


def format_of(formats: tuple[bool, ...], index: int) -> bool:
    """Whether a value is binary: no formats mean all text, one means all alike."""
    if len(formats) > 1:
        return formats[index] if index < len(formats) else False
    return bool(formats) and formats[0]


def _formats(body: bytes, position: int) -> tuple[tuple[bool, ...], int]:
    (count,) = _INT16.unpack_from(body, position)
    codes = struct.unpack_from(f">{count}H", body, position + 2)
    return tuple(code == 1 for code in codes), position + 2 + 2 * count


def _value(body: bytes, position: int) -> tuple[bytes | None, int]:
    (length,) = _INT32.unpack_from(body, position)
    position += 4
    if length < 0:
        return None, position
    if position + length > len(body):
        raise ValueError("a value reaches behind its message")
    return body[position : position + length], position + length


def read_data_row(body: bytes) -> list[bytes | None]:
    """The values of a DataRow; None is NULL."""
    (count,) = _INT16.unpack_from(body)
    position = 2
    values: list[bytes | None] = []
    for _ in range(count):
        value, position = _value(body, position)
        values.append(value)
    return values


def read_row_description(body: bytes, encoding: str) -> tuple[Column, ...]:
    """The columns of a RowDescription."""
    (count,) = _INT16.unpack_from(body)
    position = 2
    columns: list[Column] = []
    for _ in range(count):
        name, position = c_string(body, position)
        _, _, type_oid, _, _, code = _COLUMN_TAIL.unpack_from(body, position)
        position += _COLUMN_TAIL.size
        columns.append(Column(name.decode(encoding, "backslashreplace"), type_oid, code == 1))
    return tuple(columns)


def read_parameter_description(body: bytes) -> tuple[int, ...]:
    """The type numbers of a statement's parameters."""
    (count,) = _INT16.unpack_from(body)
    return struct.unpack_from(f">{count}I", body, 2)


_FIELDS = {
    "C": "sqlstate",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "W": "where",
    "s": "schema",
    "t": "table",
    "n": "constraint",
}


def read_fields(body: bytes, encoding: str) -> ServerMessage:
    """An ErrorResponse or NoticeResponse; the severity is the untranslated one if it is there."""
    found = {text[0]: text[1:] for text in texts(body, encoding) if text}
    named = {name: found.get(letter, "") for letter, name in _FIELDS.items()}
    return ServerMessage(severity=found.get("V") or found.get("S", ""), **named)


def read_notification(body: bytes, encoding: str) -> Notification:
    """A NotificationResponse."""
    (process_id,) = LENGTH.unpack_from(body)
    channel, payload = texts(body[4:], encoding)[:2]
    return Notification(process_id, channel, payload)


def read_parameter_status(body: bytes) -> ParameterStatus:
    """A ParameterStatus."""
    name, value = texts(body)[:2]
    return ParameterStatus(name, value)


def row_count(tag: str) -> int | None:
    """The number of rows that a command's tag tells, as in ``INSERT 0 5``; None without one."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isascii() and last.isdigit() else None
