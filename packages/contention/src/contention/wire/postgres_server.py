"""The server's half of a PostgreSQL connection: bytes in, ends of replies out."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from contention.wire.backlog import Backlog
from contention.wire.events import (
    Failure,
    Malformed,
    ReplyEnd,
    ReplyPart,
    Side,
    Stopped,
    UnknownMessage,
    byte_text,
)
from contention.wire.postgres_lifecycle import ANY_TIME, REPLY_TABLE, ReplyState
from contention.wire.postgres_messages import (
    HEADER_SIZE,
    LENGTH,
    MAX_MESSAGE_BYTES,
    Notification,
    ParameterStatus,
    ServerMessage,
    read_fields,
    read_notification,
    read_parameter_description,
    read_parameter_status,
    read_row_description,
)
from contention.wire.postgres_open_reply import OpenReply
from contention.wire.postgres_requests import (
    Expectation,
    LogInPart,
    PostgresReply,
    PostgresRequest,
    SessionReady,
    Unprompted,
)
from contention.wire.postgres_session import Session

ServerEvent = LogInPart | SessionReady | ReplyPart | ReplyEnd[PostgresReply] | Unprompted | Failure

_S = ReplyState
_UNOWNED = Expectation(_S.QUERY)
_ENDS = frozenset({_S.DONE, _S.COPY_IN, _S.COPY_BOTH})
_COPYING = frozenset({_S.COPY_IN, _S.COPY_BOTH})
_IGNORED_IN_COPY = frozenset("dSH")
_FORGETTING_TAGS = frozenset({"DISCARD ALL", "DEALLOCATE ALL"})
_AT_SYNC = frozenset({_S.SYNC})
_FOR_QUERY = frozenset({_S.QUERY, _S.COPY_BOTH_END})


class ServerHalf:
    """Finds the ends of the server's replies to the requests that were released."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._backlog = Backlog()
        self._expected: deque[tuple[Expectation, OpenReply | None]] = deque()
        self._chunk = b""
        self._begun = 0
        self._events: list[ServerEvent] = []
        self._process_id: int | None = None
        self._secret = b""
        self._copy_is_simple = False
        self.transaction_status: str | None = None

    @property
    def awaited(self) -> bool:
        """Whether the reply to a released request has not ended."""
        return bool(self._expected)

    def release(self, request: PostgresRequest) -> list[ServerEvent]:
        """Await the reply to a request that goes to the server now.

        Returns:
            the end of the reply if there will be none.
        """
        self._events = []
        expectations = self._answered(request)
        reply = OpenReply(request.number, len(expectations))
        if not expectations:
            return [ReplyEnd(request.number, b"", reply.summary(is_skipped=True))]
        self._expected.extend((expectation, reply) for expectation in expectations)
        self._settle_copy_end()
        return self._events

    def _answered(self, request: PostgresRequest) -> tuple[Expectation, ...]:
        """What of a request the server will answer in the mode that it is in."""
        resting = self._session.resting
        if self._expected:
            return request.expectations
        if resting is _S.ABANDONED:
            return self._up_to_sync(request.expectations)
        if resting in _COPYING and _IGNORED_IN_COPY.issuperset(request.messages):
            return ()
        return request.expectations

    def _settle_copy_end(self) -> None:
        """Decide whether the server still copies when it comes to the client's end of the copy.

        A client may send a copy's data before it knows that the copy began (asyncpg does).
        """
        while self._expected and self._expected[0][0].ends_copy:
            expectation, reply = self._expected[0]
            resting = self._session.resting
            if resting in _COPYING:
                self._session.resting = _S.IDLE
                state = _S.COPY_BOTH_END if resting is _S.COPY_BOTH else expectation.state
                self._expected[0] = (Expectation(state), reply)
                return
            self._expected.popleft()
            self._end_early(reply)

    def _end_early(self, reply: OpenReply | None) -> None:
        if reply:
            reply.left -= 1
            if not reply.left:
                self._events.append(ReplyEnd(reply.number, b"", reply.summary(is_skipped=True)))

    def _up_to_sync(self, expectations: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        states = [one.state for one in expectations]
        first = states.index(_S.SYNC) if _S.SYNC in states else len(states)
        self._take_back(list(expectations[:first]))
        return expectations[first:]

    def receive(self, data: bytes, events: list[ServerEvent]) -> None:
        """Append the events that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        chunk = self._backlog.take(data)
        if chunk is None:
            return
        self._chunk, self._events = chunk, events
        self._begun = position = 0
        size, wanted = len(chunk), HEADER_SIZE
        while size - position >= HEADER_SIZE:
            (length,) = LENGTH.unpack_from(chunk, position + 1)
            if not LENGTH.size <= length <= MAX_MESSAGE_BYTES:
                raise Stopped(Malformed(Side.SERVER, f"a message of {length} bytes"))
            end: int = position + 1 + length
            if end > size:
                wanted = 1 + length
                break
            self._message(chr(chunk[position]), position, end)
            position = end
        self._backlog.keep(chunk[position:], wanted)
        if self._begun < position:
            events.append(self._part(chunk[self._begun : position]))

    def close(self) -> list[ServerEvent]:
        """The end of the server's stream: what was still awaited is lost."""
        replies = {id(reply): reply for _, reply in self._expected if reply}
        self._expected.clear()
        return [
            ReplyEnd(reply.number, b"", reply.summary(is_lost=True)) for reply in replies.values()
        ]

    def _part(self, data: bytes) -> ServerEvent:
        if self._session.resting is _S.LOG_IN:
            return LogInPart(data)
        reply = self._expected[0][1]
        return ReplyPart(reply.number, data) if reply else Unprompted(data, None)

    def _message(self, letter: str, position: int, end: int) -> None:
        begin = position + HEADER_SIZE
        if letter in ANY_TIME:
            self._any_time(letter, begin, end)
            return
        logging_in = self._session.resting is _S.LOG_IN
        if logging_in or not self._expected:
            self._resting(letter, position, end)
            return
        expectation, reply = self._expected[0]
        following = REPLY_TABLE[expectation.state].get(letter)
        if following is None:
            raise _unknown(self._chunk[position], expectation.state)
        if letter == "D" and reply:
            reply.row(self._chunk, begin, end)
            return
        note = _NOTES.get(letter)
        if note and reply:
            expectation = note(self, expectation, reply, self._chunk[begin:end])
        if following is _S.ABANDONED:
            self._abandon(end)
        elif following in _ENDS:
            self._answer_ended(letter, following, begin, end)
        elif following is not expectation.state:
            self._expected[0] = (expectation.now(following), reply)

    def _answer_ended(self, letter: str, following: ReplyState, begin: int, end: int) -> None:
        expectation, reply = self._expected.popleft()
        status = None
        if letter == "Z":
            self.transaction_status = status = chr(self._chunk[begin])
            self._session.resting = _S.IDLE
        awaits_copy = following is not _S.DONE
        if awaits_copy:
            self._session.resting = following
            self._copy_is_simple = expectation.state in _FOR_QUERY
            self._ignore_syncs(reply)
        if reply is None:
            self._events.append(Unprompted(self._cut(end), None))
            return
        reply.left -= 1
        if not reply.left:
            summary = reply.summary(status, awaits_copy=awaits_copy)
            self._events.append(ReplyEnd(reply.number, self._cut(end), summary))
        self._settle_copy_end()

    def _ignore_syncs(self, reply: OpenReply | None) -> None:
        """Await no answer to what a server in copy mode ignores: the Sync behind an Execute."""
        while self._expected and self._expected[0][1] is reply:
            if self._expected[0][0].state is not _S.SYNC or reply is None:
                return
            self._expected.popleft()
            reply.left -= 1

    def _abandon(self, end: int) -> None:
        """After an error the server reads on to the next Sync and answers nothing before it."""
        failed = self._expected[0][1]
        dropped: list[Expectation] = []
        ended: list[OpenReply] = []
        while self._expected and self._expected[0][0].state not in _AT_SYNC:
            expectation, reply = self._expected.popleft()
            dropped.append(expectation)
            if reply:
                reply.left -= 1
                if not reply.left:
                    ended.append(reply)
        if not self._expected:
            self._session.resting = _S.ABANDONED
        self._take_back(dropped)
        for reply in ended:
            data = self._cut(end)
            self._events.append(
                ReplyEnd(reply.number, data, reply.summary(is_skipped=reply is not failed))
            )

    def _take_back(self, dropped: list[Expectation]) -> None:
        for expectation in reversed(dropped):
            if expectation.registration:
                self._session.take_back(expectation.registration)

    def _cut(self, end: int) -> bytes:
        """The bytes since the last event."""
        data = self._chunk[self._begun : end]
        self._begun = end
        return data

    def _resting(self, letter: str, position: int, end: int) -> None:
        """A message while nothing is being answered."""
        session = self._session
        resting = session.resting
        following = REPLY_TABLE[resting].get(letter)
        if following is None:
            raise _unknown(self._chunk[position], resting)
        body = self._chunk[position + HEADER_SIZE : end]
        session.resting = following
        if letter == "K":
            (self._process_id,) = LENGTH.unpack_from(body)
            self._secret = body[LENGTH.size :]
        elif letter == "Z":
            self.transaction_status = chr(body[0])
            self._events.append(SessionReady(self._cut(end), self._process_id, self._secret))
        elif letter in "Edc":
            content = read_fields(body, session.encoding) if letter == "E" else None
            self._events.append(Unprompted(self._cut(end), content))
            if following is _S.ABANDONED and self._copy_is_simple:
                # A copy for a Query that failed by itself: its ReadyForQuery follows.
                self._expected.append((_UNOWNED, None))
                session.resting = _S.IDLE

    def _any_time(self, letter: str, begin: int, end: int) -> None:
        content = self._read_any_time(letter, self._chunk[begin:end])
        if isinstance(content, ParameterStatus):
            self._session.report(content)
        if self._session.resting is _S.LOG_IN:
            return
        reply = self._expected[0][1] if self._expected else None
        if reply is None:
            self._events.append(Unprompted(self._cut(end), content))
        elif isinstance(content, Notification):
            reply.notifications.append(content)
        elif isinstance(content, ServerMessage):
            reply.notices.append(content)

    def _read_any_time(
        self, letter: str, body: bytes
    ) -> ServerMessage | Notification | ParameterStatus:
        if letter == "S":
            return read_parameter_status(body)
        if letter == "A":
            return read_notification(body, self._session.encoding)
        return read_fields(body, self._session.encoding)

    def _note_error(self, expectation: Expectation, reply: OpenReply, body: bytes) -> Expectation:
        reply.error = reply.error or read_fields(body, self._session.encoding)
        return expectation

    def _note_tag(self, expectation: Expectation, reply: OpenReply, body: bytes) -> Expectation:
        tag = body[:-1].decode("ascii", "replace")
        if tag in _FORGETTING_TAGS:
            self._session.statements.clear()
        reply.result(tag, expectation, self._session.encoding)
        return expectation

    def _note_pause(self, expectation: Expectation, reply: OpenReply, _body: bytes) -> Expectation:
        reply.result("…", expectation, self._session.encoding)
        return expectation

    def _note_empty(self, expectation: Expectation, reply: OpenReply, _body: bytes) -> Expectation:
        reply.result("", expectation, self._session.encoding)
        return expectation

    def _note_parameters(
        self, expectation: Expectation, _reply: OpenReply, body: bytes
    ) -> Expectation:
        statement = expectation.statement
        if statement is None:
            return expectation
        described = replace(statement, type_oids=read_parameter_description(body))
        self._session.describe(statement, described)
        return replace(expectation, statement=described)

    def _note_columns(self, expectation: Expectation, reply: OpenReply, body: bytes) -> Expectation:
        columns = read_row_description(body, self._session.encoding)
        statement = expectation.statement
        if statement is None:
            reply.columns = columns
        else:
            self._session.describe(statement, replace(statement, columns=columns))
        return expectation


_NOTES: dict[str, Callable[[ServerHalf, Expectation, OpenReply, bytes], Expectation]] = {
    "E": ServerHalf._note_error,  # noqa: SLF001 - the class's own table
    "C": ServerHalf._note_tag,  # noqa: SLF001
    "s": ServerHalf._note_pause,  # noqa: SLF001
    "I": ServerHalf._note_empty,  # noqa: SLF001
    "t": ServerHalf._note_parameters,  # noqa: SLF001
    "T": ServerHalf._note_columns,  # noqa: SLF001
}


def _unknown(byte: int, state: ReplyState) -> Stopped:
    return Stopped(UnknownMessage(Side.SERVER, byte_text(byte), state))
