"""Messages of PostgreSQL's protocol as bytes, for tests that speak both sides by hand."""

import struct
from collections.abc import Sequence

from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresRequest

SYNC = b"S\x00\x00\x00\x04"
FLUSH = b"H\x00\x00\x00\x04"
TERMINATE = b"X\x00\x00\x00\x04"
PARSED, BOUND, CLOSED = b"1\x00\x00\x00\x04", b"2\x00\x00\x00\x04", b"3\x00\x00\x00\x04"
NO_DATA = b"n\x00\x00\x00\x04"
COPY_DONE = b"c\x00\x00\x00\x04"
START_UP = struct.pack(">II", 17, 3 << 16) + b"user\0me\0\0"
SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSS_REQUEST = struct.pack(">II", 8, 80877104)


def message(letter: str, body: bytes = b"") -> bytes:
    return letter.encode() + struct.pack(">I", 4 + len(body)) + body


def query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "", oids: Sequence[int] = ()) -> bytes:
    types = struct.pack(f">H{len(oids)}I", len(oids), *oids)
    return message("P", f"{name}\0{sql}\0".encode() + types)


def bind(
    *values: bytes | None,
    name: str = "",
    portal: str = "",
    is_binary: bool = False,
    binary_result: bool = False,
) -> bytes:
    body = f"{portal}\0{name}\0".encode() + struct.pack(">HH", 1, is_binary)
    body += struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">I", len(value)) + value
    return message("B", body + struct.pack(">HH", 1, binary_result))


def execute(portal: str = "", limit: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + struct.pack(">I", limit))


def describe(kind: str, name: str = "") -> bytes:
    return message("D", f"{kind}{name}\0".encode())


def close(kind: str, name: str = "") -> bytes:
    return message("C", f"{kind}{name}\0".encode())


def ready(status: str = "I") -> bytes:
    return message("Z", status.encode())


def complete(tag: str) -> bytes:
    return message("C", tag.encode() + b"\0")


def row(*values: bytes | None) -> bytes:
    body = struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">I", len(value)) + value
    return message("D", body)


def columns(*types: tuple[str, int], is_binary: bool = False) -> bytes:
    body = struct.pack(">H", len(types))
    for name, oid in types:
        body += name.encode() + b"\0" + struct.pack(">IhIhih", 0, 0, oid, -1, -1, is_binary)
    return message("T", body)


def parameters(*oids: int) -> bytes:
    return message("t", struct.pack(f">H{len(oids)}I", len(oids), *oids))


def fields(letter: str, **values: str) -> bytes:
    return message(letter, "".join(f"{k}{v}\0" for k, v in values.items()).encode() + b"\0")


def error(
    sqlstate: str = "22012", text: str = "division by zero", severity: str = "ERROR"
) -> bytes:
    return fields("E", S=severity, V=severity, C=sqlstate, M=text)


def status(name: str, value: str) -> bytes:
    return message("S", f"{name}\0{value}\0".encode())


LOG_IN = (
    message("R", struct.pack(">I", 0))
    + status("client_encoding", "UTF8")
    + status("standard_conforming_strings", "on")
    + message("K", struct.pack(">I", 4711) + b"key4")
    + ready()
)


def logged_in() -> PostgresFraming:
    framing = PostgresFraming()
    framing.receive_client(START_UP)
    framing.receive_server(LOG_IN)
    return framing


def requests_of(framing: PostgresFraming, data: bytes) -> list[PostgresRequest]:
    """The requests that client bytes complete, when they complete nothing else."""
    requests: list[PostgresRequest] = []
    for event in framing.receive_client(data):
        assert isinstance(event, PostgresRequest), event
        requests.append(event)
    return requests


def released(framing: PostgresFraming, data: bytes) -> list[PostgresRequest]:
    requests = requests_of(framing, data)
    for request in requests:
        assert framing.release(request) == []
    return requests
