"""Requests to PostgreSQL and what the server replied, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from contention.wire.postgres_lifecycle import CLIENT_MESSAGES, ReplyState
from contention.wire.postgres_messages import (
    BROKEN_BODY,
    Column,
    Notification,
    ParameterStatus,
    ServerMessage,
    format_of,
    read_bind_values,
    read_data_row,
)
from contention.wire.postgres_sql import Statement, Verb
from contention.wire.postgres_values import readable

SAMPLE_ROWS = 3
"""So many rows of each result are kept for people to see."""
SAMPLE_ROW_BYTES = 4096
"""A longer row is only counted."""
_NO_SAMPLE_ENCODING = "utf-8"
COPY_LETTERS = frozenset("dcf")
"""CopyData, CopyDone, CopyFail."""
_LONG_BYTES = 4096
"""A Bind is read again each time from this length on: it is not worth the room."""


class RequestKind(StrEnum):
    """What a request means to a scheduler."""

    PREPARATION = "preparation"
    """Nothing is executed: Parse, Describe, Close, Sync. It may still wait for a table's lock."""
    INTROSPECTION = "introspection"
    """Only SHOW and the questions that drivers ask about the server and its types."""
    TRANSACTION = "transaction control"
    """Only statements that begin, end, mark or set something; see their verbs."""
    DATA = "data"
    """Everything else that runs."""
    COPY_DATA = "copy data"
    """Rows of a COPY that an earlier request began, or their end."""


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """An SQL text under a name, as far as it is known.

    Attributes:
        sql: None when its Parse was not seen, as after PREPARE in SQL.
        columns: of its result; None until the server has described it.
    """

    name: str
    sql: str | None
    type_oids: tuple[int, ...] = ()
    columns: tuple[Column, ...] | None = None


@dataclass(frozen=True, slots=True)
class Portal:
    """A prepared statement with the values bound to it.

    Attributes:
        bind: the body of its Bind; empty when that was not seen, as after DECLARE in SQL.
        values_at: where in it the values begin.
    """

    name: str
    statement: PreparedStatement
    bind: bytes = field(default=b"", repr=False)
    values_at: int = 0
    encoding: str = "utf-8"

    def parameters(self) -> tuple[str, ...]:
        """The bound values as SQL literals, each of bounded length."""
        oids = self.statement.type_oids
        if len(self.bind) > _LONG_BYTES:
            return _literals.__wrapped__(self.bind, self.values_at, oids, self.encoding)
        return _literals(self.bind, self.values_at, oids, self.encoding)

    def result_formats(self) -> tuple[bool, ...]:
        """Whether the columns of the result are binary."""
        return _values(self.bind, self.values_at)[1]


# Every run of a search binds the same few values.
@lru_cache(maxsize=256)
def _literals(
    bind: bytes, values_at: int, type_oids: tuple[int, ...], encoding: str
) -> tuple[str, ...]:
    """The values in the body of a Bind as SQL literals."""
    return tuple(
        readable(
            value,
            type_oids[index] if index < len(type_oids) else 0,
            is_binary=is_binary,
            encoding=encoding,
        )
        for index, (value, is_binary) in enumerate(_values(bind, values_at)[0])
    )


def _values(
    bind: bytes, values_at: int
) -> tuple[list[tuple[bytes | None, bool]], tuple[bool, ...]]:
    """What is bound; nothing for a Bind that cannot be read, which the server refuses."""
    try:
        return read_bind_values(bind, values_at) if bind else ([], ())
    except BROKEN_BODY:
        return [], ()


@dataclass(frozen=True, slots=True)
class Execution:
    """What one Query, Execute or FunctionCall makes the server run.

    Attributes:
        sql: the text; None when it was prepared out of sight.
        statements: its parts; several only in a simple Query.
        portal: None for a simple Query and a FunctionCall.
    """

    sql: str | None
    statements: tuple[Statement, ...]
    portal: Portal | None = None

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What each statement does to the transaction; OTHER where unseen."""
        if self.sql is None:
            return (Verb.OTHER,)
        return tuple(statement.verb for statement in self.statements)

    def parameters(self) -> tuple[str, ...]:
        """The bound values as SQL literals."""
        return self.portal.parameters() if self.portal else ()


@dataclass(frozen=True, slots=True)
class Registration:
    """A change of what a statement's name means, to be taken back if the server refuses it."""

    name: str
    before: PreparedStatement | None
    after: PreparedStatement | None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One message of a request whose answer is awaited, and what it was about.

    Attributes:
        ends_copy: whether it is CopyDone or CopyFail, which a server that is not copying ignores.
    """

    state: ReplyState
    statement: PreparedStatement | None = None
    portal: Portal | None = None
    registration: Registration | None = None
    ends_copy: bool = False

    def now(self, state: ReplyState) -> "Expectation":
        """The same in another state."""
        return Expectation(
            state, self.statement, self.portal, self.registration, ends_copy=self.ends_copy
        )


@dataclass(frozen=True, slots=True)
class PostgresRequest:
    """Messages up to a point where the client waits: what a gate holds and lets go as one.

    Attributes:
        number: 1, 2, 3 … on its connection.
        data: the bytes to pass on, exactly.
        messages: their type bytes, as in ``PDS``; one letter for a run of CopyData.
        prepared: SQL texts that it only prepares or describes.
        expectations: what the server will answer, in order.
        follows: whether the server skips it when the one before it fails: the two are parts of one.
        texts: the SQL that is run, or else prepared.
        verbs: what each statement that is run does to the transaction; OTHER where unseen.
    """

    number: int
    data: bytes = field(repr=False)
    messages: str
    kind: RequestKind
    executions: tuple[Execution, ...]
    prepared: tuple[str, ...]
    expectations: tuple[Expectation, ...] = field(repr=False)
    follows: bool = False
    texts: tuple[str, ...] = field(init=False, repr=False)
    verbs: tuple[Verb, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        run = tuple(one.sql for one in self.executions if one.sql is not None)
        object.__setattr__(self, "texts", run or self.prepared)
        verbs = tuple(verb for one in self.executions for verb in one.verbs)
        object.__setattr__(self, "verbs", verbs)

    @property
    def message_names(self) -> tuple[str, ...]:
        """The names of its messages."""
        return tuple(CLIENT_MESSAGES[letter] for letter in self.messages)


def kind_of(letters: str, executions: tuple[Execution, ...]) -> RequestKind:
    """What a run of messages means to a scheduler."""
    if not executions:
        is_copy = not COPY_LETTERS.isdisjoint(letters)
        return RequestKind.COPY_DATA if is_copy else RequestKind.PREPARATION
    if any(one.sql is None for one in executions):
        return RequestKind.DATA
    verbs = {statement.verb for one in executions for statement in one.statements}
    if Verb.OTHER in verbs:
        return RequestKind.DATA
    if any(verb.is_control for verb in verbs):
        return RequestKind.TRANSACTION
    return RequestKind.INTROSPECTION


@dataclass(frozen=True, slots=True)
class StartUp:
    """The client's StartupMessage, to be passed on at once."""

    data: bytes
    protocol: tuple[int, int]
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cancel:
    """A CancelRequest, alone on its connection, to be passed on at once."""

    data: bytes
    process_id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogInPart:
    """Messages of the server before the session is ready."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The end of the log-in: the first ReadyForQuery."""

    data: bytes
    process_id: int | None
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unprompted:
    """A message of the server that no request asked for.

    Attributes:
        content: None for a message of a two-way copy, and for the end of a copy that timed out.
    """

    data: bytes
    content: ServerMessage | Notification | ParameterStatus | None


@dataclass(frozen=True, slots=True)
class Result:
    """What one statement gave back.

    Attributes:
        tag: the command's tag; ``""`` for an empty query, ``"…"`` for a portal that has more.
        row_count: rows that were sent to the client.
        sample: the first of them, undecoded.
    """

    tag: str
    row_count: int = 0
    sample: tuple[bytes, ...] = field(default=(), repr=False)
    columns: tuple[Column, ...] | None = field(default=None, repr=False)
    portal: Portal | None = field(default=None, repr=False)
    encoding: str = _NO_SAMPLE_ENCODING

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The first rows as SQL literals, each value of bounded length."""
        columns = self.columns
        statement = self.portal.statement if self.portal else None
        if columns is None and statement:
            columns = statement.columns
        formats = self.portal.result_formats() if self.portal else None
        return tuple(_row(body, columns or (), formats, self.encoding) for body in self.sample)


def _row(
    body: bytes, columns: tuple[Column, ...], formats: tuple[bool, ...] | None, encoding: str
) -> tuple[str, ...]:
    known = dict(enumerate(columns))
    try:
        values = read_data_row(body)
    except BROKEN_BODY:
        values = []
    return tuple(
        readable(
            value,
            known[index].type_oid if index in known else 0,
            is_binary=(
                format_of(formats, index)
                if formats is not None
                else index in known and known[index].is_binary
            ),
            encoding=encoding,
        )
        for index, value in enumerate(values)
    )


@dataclass(frozen=True, slots=True)
class PostgresReply:
    """A whole reply in short.

    Attributes:
        transaction_status: ``I`` idle, ``T`` in a transaction, ``E`` in a failed one; None when
            the reply has no ReadyForQuery.
        awaits_copy: whether it ended because the server now reads copy data.
        is_skipped: whether the server ignores the request, or has no answer to it.
        is_lost: whether the connection ended first.
    """

    transaction_status: str | None = None
    results: tuple[Result, ...] = ()
    error: ServerMessage | None = None
    notices: tuple[ServerMessage, ...] = ()
    notifications: tuple[Notification, ...] = ()
    awaits_copy: bool = False
    is_skipped: bool = False
    is_lost: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the commands that were completed."""
        return tuple(result.tag for result in self.results)
