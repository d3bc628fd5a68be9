"""Requests taken apart where other connections can come in between.

A request is one message to the client and several moments to the server: each statement looks at
the database anew, and what it did outside of a transaction block lasts and shows only at the end,
which for the extended protocol is the Sync. So a run of messages is cut behind each Execute, where
a Flush takes the Sync's place, and the Sync can be held like a COMMIT. A Query becomes the same
extended messages, statement by statement; `PlainReply` gives its client a Query's reply.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from contention.wire.events import ReplyEnd, ReplyPart
from contention.wire.postgres_lifecycle import ReplyState
from contention.wire.postgres_messages import HEADER_SIZE, LENGTH
from contention.wire.postgres_requests import (
    Execution,
    Expectation,
    PostgresRequest,
    RequestKind,
    kind_of,
)
from contention.wire.postgres_sql import Statement, Verb
from contention.wire.sql_words import first_word, words_of

END_TEXT: Final = "COMMIT by autocommit"
_END: Final = Execution(END_TEXT, (Statement(END_TEXT, Verb.COMMIT),))
_EXTENDED: Final = frozenset("PBDECSH")
_FLUSH: Final = b"H\0\0\0\x04"
_SYNC: Final = b"S\0\0\0\x04"
_BIND: Final = b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"
"""The unnamed statement's unnamed portal: no values, all results as text."""
_DESCRIBE: Final = b"D\0\0\0\x06P\0"
_EXECUTE: Final = b"E\0\0\0\x09\0\0\0\0\0"
_RUNS: Final = tuple(
    Expectation(state)
    for state in (
        ReplyState.PARSE,
        ReplyState.BIND,
        ReplyState.DESCRIBE_ROWS,
        ReplyState.EXECUTE,
    )
)
_SYNCS: Final = (Expectation(ReplyState.SYNC),)
_WITHIN_VERBS: Final = frozenset({Verb.OTHER, Verb.SET, Verb.INTROSPECTION})
_ONLY_ALONE: Final = frozenset(
    {"concurrently", "database", "tablespace", "subscription", "system", "copy"}
)
"""Statements that a text of several may not hold, or whose reply is more than rows."""
_TOGETHER_NAMES: Final = """
    alter create delete do drop grant insert merge reset revoke select set show table truncate
    update values with
    """
_TOGETHER: Final = frozenset(_TOGETHER_NAMES.split())
_LONGEST_PADDED: Final = 2**16
_BEHIND_THE_END: Final = frozenset(b"ASZ")
"""What the server says when the transaction is over and the statement is complete."""
_UNHEARD: Final = frozenset(b"12n")
"""ParseComplete, BindComplete and NoData: a Query has no such answers."""


def cut(request: PostgresRequest, *, is_end_apart: bool) -> tuple[PostgresRequest, ...]:
    """A request behind each of its Executes.

    Args:
        request: a run of extended messages.
        is_end_apart: whether what follows the last Execute is a part of its own: the end of the
            transaction.

    Returns:
        the parts, numbered from the request's number on; one alone when nothing is to be cut.
    """
    if not _EXTENDED.issuperset(request.messages):
        return (request,)
    groups = list(_groups(request))
    if not is_end_apart and len(groups) > 1 and not groups[-1].executions:
        groups[-2:] = [groups[-2].followed_by(groups[-1])]
    if is_end_apart and not groups[-1].executions:
        groups[-1] = replace(groups[-1], executions=(_END,))
    if len(groups) == 1 and groups[0].executions == request.executions:
        return (request,)
    return tuple(
        group.part(request.number + place, is_last=group is groups[-1], follows=place > 0)
        for place, group in enumerate(groups)
    )


def spelled_out(
    request: PostgresRequest, encoding: str, *, is_end_apart: bool
) -> tuple[PostgresRequest, ...]:
    """A Query as extended messages, in a part for each statement.

    Returns:
        the parts, the last of which ends with a Sync; none when the text has to stay whole.
    """
    execution = request.executions[0]
    texts = list(_placed(execution, request.data[HEADER_SIZE:-1], encoding))
    if not texts:
        return ()
    groups = [
        _Group(
            _message(b"P", b"\0" + text + b"\0\0\0") + _BIND + _DESCRIBE + _EXECUTE,
            "PBDE",
            (Execution(statement.text, (statement,)),),
            expectations=_RUNS,
        )
        for statement, text in zip(execution.statements, texts, strict=True)
    ]
    sync = _Group(_SYNC, "S", (_END,), expectations=_SYNCS)
    if is_end_apart:
        groups.append(sync)
    else:
        groups[-1] = groups[-1].followed_by(replace(sync, executions=()))
    return tuple(
        group.part(request.number + place, is_last=group is groups[-1], follows=place > 0)
        for place, group in enumerate(groups)
    )


def skipped(part: PostgresRequest) -> PostgresRequest:
    """A part after one that has failed: the server does nothing of it and reads on to the Sync."""
    return replace(part, kind=RequestKind.PREPARATION, executions=(), prepared=())


class PlainReply:
    """The reply to a Query that was spelled out, as the client expects it.

    The server ends a Query's transaction before it says that the last statement is complete.

    Args:
        statements: how many the Query had.
    """

    def __init__(self, statements: int) -> None:
        self._left = statements
        self._completion = b""
        self.is_over = False

    def told(self, event: object) -> object:
        """What the client is told instead of an event."""
        if not isinstance(event, ReplyPart | ReplyEnd):
            return event
        return replace(event, data=b"".join(self._messages(event.data)))

    def _messages(self, data: bytes) -> Iterator[bytes]:
        for letter, message in _split(data):
            if letter in _UNHEARD:
                continue
            if letter == ord("E"):
                self._completion = b""
            elif letter in _BEHIND_THE_END:
                yield self._completion
                self._completion = b""
                self.is_over = letter == ord("Z")
            elif letter == ord("C"):
                self._left -= 1
                if not self._left:
                    self._completion = message
                    continue
            yield message


@dataclass(frozen=True, slots=True)
class _Group:
    """Some messages of a request, in a row."""

    data: bytes
    messages: str
    executions: tuple[Execution, ...]
    prepared: tuple[str, ...] = ()
    expectations: tuple[Expectation, ...] = ()

    def followed_by(self, other: "_Group") -> "_Group":
        return _Group(
            self.data + other.data,
            self.messages + other.messages,
            self.executions + other.executions,
            self.prepared + other.prepared,
            self.expectations + other.expectations,
        )

    def part(self, number: int, *, is_last: bool, follows: bool) -> PostgresRequest:
        """The group as a request, after which the server is made to answer."""
        is_end = self.executions == (_END,)
        return PostgresRequest(
            number,
            self.data if is_last else self.data + _FLUSH,
            self.messages if is_last else self.messages + "H",
            RequestKind.TRANSACTION if is_end else kind_of(self.messages, self.executions),
            self.executions,
            self.prepared,
            self.expectations,
            follows=follows or is_end,
        )


def _groups(request: PostgresRequest) -> Iterator[_Group]:
    """What stands up to each Execute, and what stands behind the last."""
    executions, expectations = iter(request.executions), iter(request.expectations)
    begin = position = 0
    letters, awaited = "", []
    for letter, message in _split(request.data):
        position += len(message)
        letters += chr(letter)
        if letter != ord("H"):
            awaited.append(next(expectations))
        if letter == ord("E"):
            run = (next(executions),)
            yield _Group(request.data[begin:position], letters, run, (), tuple(awaited))
            begin, letters, awaited = position, "", []
    if begin < position:
        data = request.data[begin:]
        prepared = () if request.executions else request.prepared
        yield _Group(data, letters, (), prepared, tuple(awaited))


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole messages with their letters."""
    position = 0
    while position < len(data):
        end = position + 1 + LENGTH.unpack_from(data, position + 1)[0]
        yield data[position], data[position:end]
        position = end


def _placed(execution: Execution, raw: bytes, encoding: str) -> Iterator[bytes]:
    """Each statement where it stands in the text, so that errors point to the same place."""
    sql, statements = execution.sql or "", execution.statements
    if any(one.verb not in _WITHIN_VERBS for one in statements) or sql.encode(encoding) != raw:
        return
    if len(statements) > 1 and not all(map(_may_be_among_others, statements)):
        return
    if any(first_word(one.text) == "copy" for one in statements):
        return
    begin = 0
    for statement in statements:
        begin = sql.index(statement.text, begin)
        padding = " " * begin if len(sql) <= _LONGEST_PADDED else ""
        yield (padding + statement.text).encode(encoding)
        begin += len(statement.text)


def _may_be_among_others(statement: Statement) -> bool:
    return first_word(statement.text) in _TOGETHER and _ONLY_ALONE.isdisjoint(
        words_of(statement.text)
    )


def _message(letter: bytes, body: bytes) -> bytes:
    return letter + LENGTH.pack(LENGTH.size + len(body)) + body
