"""The client's half of a PostgreSQL connection: bytes in, requests out."""

import struct
from collections.abc import Callable

from contention.wire.backlog import Backlog
from contention.wire.events import (
    TLS_HANDSHAKE,
    Answer,
    Failure,
    Forward,
    Goodbye,
    Malformed,
    Refused,
    Side,
    Stopped,
    TlsDemanded,
    UnknownMessage,
    byte_text,
)
from contention.wire.postgres_lifecycle import (
    CLIENT_TABLE,
    COPY_IS_OVER,
    FOR_EXECUTE,
    ClientState,
    ReplyState,
)
from contention.wire.postgres_messages import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    HEADER_SIZE,
    LENGTH,
    MAX_MESSAGE_BYTES,
    MAX_STARTUP_BYTES,
    SSL_REQUEST,
    SUPPORTED_MAJOR,
    c_string,
    read_bind_names,
    read_parse,
    read_startup,
)
from contention.wire.postgres_requests import (
    COPY_LETTERS,
    Cancel,
    Execution,
    Expectation,
    Portal,
    PostgresRequest,
    PreparedStatement,
    StartUp,
    kind_of,
)
from contention.wire.postgres_session import Session
from contention.wire.postgres_sql import Statement, Verb, split_statements

ClientEvent = PostgresRequest | StartUp | Cancel | Forward | Answer | Goodbye | Failure

HELD_COPY_BYTES = 8 * 2**20
"""A run of CopyData is passed on as a request of its own once it is so long."""
_STARTUP_HEADER = struct.Struct(">II")
_STARTUP_NAMES = {
    SSL_REQUEST: "SSLRequest",
    GSS_REQUEST: "GSSENCRequest",
    CANCEL_REQUEST: "CancelRequest",
}
_REFUSAL = b"N"
"""The server's own answer to SSLRequest and GSSENCRequest when it does not encrypt."""
_TLS_REMEDY = "connect with sslmode=disable (libpq) or ssl=False (asyncpg)"
_MINOR_BITS = 16

_BIND = Expectation(ReplyState.BIND)
_SYNC = Expectation(ReplyState.SYNC)
_QUERY = Expectation(ReplyState.QUERY)
_FUNCTION = Expectation(ReplyState.FUNCTION)
_COPY_END_FOR_QUERY = Expectation(ReplyState.QUERY, ends_copy=True)
_COPY_END_FOR_EXECUTE = Expectation(ReplyState.EXECUTE, ends_copy=True)


class ClientHalf:
    """Groups a client's messages into requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = ClientState.STARTING
        self._backlog = Backlog()
        self._wanted = 0
        self._number = 0
        self._copies_for_execute = False
        self._start_run()

    @property
    def state(self) -> ClientState:
        """Where the client is."""
        return self._state

    @property
    def unfinished(self) -> str:
        """The messages of a run whose end has not come, as in ``PB``; usually empty."""
        return "".join(self._letters)

    def receive(self, data: bytes, events: list[ClientEvent]) -> None:
        """Append the events that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        chunk = self._backlog.take(data)
        if chunk is None:
            return
        position = self._run_from = 0
        while end := self._frame_end(chunk, position):
            if self._state is ClientState.STARTING:
                events.append(self._start_up(chunk[position:end]))
                self._run_from = end
            else:
                self._message(chunk, position, end, events)
            position = end
        if self._run_from < position:
            self._parts.append(chunk[self._run_from : position])
        self._backlog.keep(chunk[position:], self._wanted)

    def _start_run(self) -> None:
        self._parts: list[bytes] = []
        self._letters: list[str] = []
        self._copy_bytes = 0
        self._executions: list[Execution] = []
        self._prepared: list[str] = []
        self._expectations: list[Expectation] = []
        self._run_from = 0

    def _frame_end(self, chunk: bytes, position: int) -> int:
        """Where the message at ``position`` ends; 0 while that has not arrived."""
        if self._state is ClientState.STARTING:
            return self._startup_end(chunk, position)
        if len(chunk) - position < HEADER_SIZE:
            self._wanted = HEADER_SIZE
            return 0
        (length,) = LENGTH.unpack_from(chunk, position + 1)
        if not LENGTH.size <= length <= MAX_MESSAGE_BYTES:
            raise Stopped(Malformed(Side.CLIENT, f"a message of {length} bytes"))
        end: int = position + 1 + length
        self._wanted = 1 + length
        return end if end <= len(chunk) else 0

    def _startup_end(self, chunk: bytes, position: int) -> int:
        self._wanted = _STARTUP_HEADER.size
        if position < len(chunk) and chunk[position] == TLS_HANDSHAKE:
            raise Stopped(TlsDemanded(_TLS_REMEDY))
        if len(chunk) - position < _STARTUP_HEADER.size:
            return 0
        (length,) = LENGTH.unpack_from(chunk, position)
        if not _STARTUP_HEADER.size <= length <= MAX_STARTUP_BYTES:
            raise Stopped(Malformed(Side.CLIENT, f"a start-up packet of {length} bytes"))
        self._wanted = length
        return position + length if position + length <= len(chunk) else 0

    def _start_up(self, packet: bytes) -> ClientEvent:
        _, code = _STARTUP_HEADER.unpack_from(packet)
        name = _STARTUP_NAMES.get(code, "StartupMessage")
        self._state = CLIENT_TABLE[self._state][name]
        if code in {SSL_REQUEST, GSS_REQUEST}:
            return Answer(_REFUSAL, name)
        body = packet[_STARTUP_HEADER.size :]
        if code == CANCEL_REQUEST:
            return Cancel(packet, *_cancel_key(body))
        major, minor = code >> _MINOR_BITS, code & 0xFFFF
        if major != SUPPORTED_MAJOR:
            reason = f"only protocol {SUPPORTED_MAJOR} is known"
            raise Stopped(Refused(f"PostgreSQL protocol {major}.{minor}", reason))
        return StartUp(packet, (major, minor), read_startup(body))

    def _message(self, chunk: bytes, position: int, end: int, events: list[ClientEvent]) -> None:
        letter = chr(chunk[position])
        is_copy = letter in COPY_LETTERS
        symbol = letter + FOR_EXECUTE if is_copy and self._copies_for_execute else letter
        following = CLIENT_TABLE[self._state].get(symbol)
        if following is None and self._is_copy_over():
            self._state = CLIENT_TABLE[self._state][COPY_IS_OVER]
            following = CLIENT_TABLE[self._state].get(symbol)
        if following is None:
            raise Stopped(UnknownMessage(Side.CLIENT, byte_text(chunk[position]), self._state))
        self._state = following
        if letter == "p":
            events.append(Forward(chunk[position:end]))
            self._run_from = end
            return
        if is_copy:
            self._copy(letter, end - position)
        elif letter != "X":
            self._letters.append(letter)
            _HANDLERS[letter](self, chunk[position + HEADER_SIZE : end])
        if following is ClientState.CLOSED:
            events.append(Goodbye(self._run_bytes(chunk, end)))
        elif following is ClientState.BETWEEN or self._is_due():
            events.append(self._request(chunk, end))

    def _is_copy_over(self) -> bool:
        is_copying = self._session.resting in {ReplyState.COPY_IN, ReplyState.COPY_BOTH}
        return self._state is ClientState.COPYING and not is_copying

    def _run_bytes(self, chunk: bytes, end: int) -> bytes:
        data = chunk[self._run_from : end]
        if self._parts:
            data = b"".join([*self._parts, data])
        self._start_run()
        self._run_from = end
        return data

    def _request(self, chunk: bytes, end: int) -> PostgresRequest:
        self._number += 1
        letters = "".join(self._letters)
        executions = tuple(self._executions)
        prepared, expectations = tuple(self._prepared), tuple(self._expectations)
        return PostgresRequest(
            self._number,
            self._run_bytes(chunk, end),
            letters,
            kind_of(letters, executions),
            executions,
            prepared,
            expectations,
        )

    def _is_due(self) -> bool:
        """Whether copy data goes on now: a two-way copy does not wait, a long one does not pile."""
        if self._letters != ["d"]:
            return False
        return self._session.resting is ReplyState.COPY_BOTH or self._copy_bytes >= HELD_COPY_BYTES

    def _copy(self, letter: str, size: int) -> None:
        if letter != "d" or self._letters[-1:] != ["d"]:
            self._letters.append(letter)
        self._copy_bytes += size
        if letter != "d":
            for_execute = self._copies_for_execute
            self._expectations.append(_COPY_END_FOR_EXECUTE if for_execute else _COPY_END_FOR_QUERY)

    def _parse(self, body: bytes) -> None:
        name_bytes, sql_bytes, oids = read_parse(body)
        name, sql = self._session.text(name_bytes), self._session.text(sql_bytes)
        statement = PreparedStatement(name, sql, oids)
        registration = self._session.register(name, statement)
        self._prepared.append(sql)
        self._expectations.append(Expectation(ReplyState.PARSE, registration=registration))

    def _bind(self, body: bytes) -> None:
        portal, statement, values_at = read_bind_names(body)
        session = self._session
        bound = Portal(
            session.text(portal),
            session.statement(session.text(statement)),
            body,
            values_at,
            session.encoding,
        )
        session.bind(bound)
        self._expectations.append(_BIND)

    def _describe(self, body: bytes) -> None:
        name = self._session.text(c_string(body, 1)[0])
        if body[:1] == b"S":
            statement = self._session.statement(name)
            if statement.sql is not None and statement.sql not in self._prepared:
                self._prepared.append(statement.sql)
            expectation = Expectation(ReplyState.DESCRIBE_STATEMENT, statement=statement)
        else:
            expectation = Expectation(ReplyState.DESCRIBE_ROWS)
        self._expectations.append(expectation)

    def _close(self, body: bytes) -> None:
        name = self._session.text(c_string(body, 1)[0])
        registration = None
        if body[:1] == b"S":
            registration = self._session.register(name, None)
        else:
            self._session.close_portal(name)
        self._expectations.append(Expectation(ReplyState.CLOSE, registration=registration))

    def _execute(self, body: bytes) -> None:
        portal = self._session.portal(self._session.text(c_string(body, 0)[0]))
        sql = portal.statement.sql
        self._executions.append(Execution(sql, self._statements(sql), portal))
        self._expectations.append(Expectation(ReplyState.EXECUTE, portal=portal))
        self._copies_for_execute = True

    def _query(self, body: bytes) -> None:
        sql = self._session.text(c_string(body, 0)[0])
        self._executions.append(Execution(sql, self._statements(sql)))
        self._expectations.append(_QUERY)
        self._copies_for_execute = False

    def _function_call(self, body: bytes) -> None:
        (oid,) = LENGTH.unpack_from(body)
        statement = Statement(f"function call {oid}", Verb.OTHER)
        self._executions.append(Execution(statement.text, (statement,)))
        self._expectations.append(_FUNCTION)

    def _sync(self, _body: bytes) -> None:
        self._expectations.append(_SYNC)

    def _flush(self, _body: bytes) -> None:
        """Flush has no answer of its own."""

    def _statements(self, sql: str | None) -> tuple[Statement, ...]:
        return split_statements(sql, conforming=self._session.conforming) if sql else ()


_HANDLERS: dict[str, Callable[[ClientHalf, bytes], None]] = {
    "P": ClientHalf._parse,  # noqa: SLF001 - the class's own table
    "B": ClientHalf._bind,  # noqa: SLF001
    "D": ClientHalf._describe,  # noqa: SLF001
    "C": ClientHalf._close,  # noqa: SLF001
    "E": ClientHalf._execute,  # noqa: SLF001
    "Q": ClientHalf._query,  # noqa: SLF001
    "F": ClientHalf._function_call,  # noqa: SLF001
    "S": ClientHalf._sync,  # noqa: SLF001
    "H": ClientHalf._flush,  # noqa: SLF001
}


def _cancel_key(body: bytes) -> tuple[int, bytes]:
    (process_id,) = LENGTH.unpack_from(body)
    return process_id, body[LENGTH.size :]
