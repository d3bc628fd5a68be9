"""The server's half of a Redis connection: bytes in, replies and messages out."""

from collections import deque

from contention.wire.events import (
    Failure,
    ReplyEnd,
    ReplyPart,
    Side,
    Stopped,
    UnknownMessage,
    byte_text,
)
from contention.wire.redis_lifecycle import SERVER_TABLE, SUBSCRIPTIONS, ServerState
from contention.wire.redis_requests import Answer, Push, RedisReply, RedisRequest, RedisSession
from contention.wire.resp import Value, ValueScanner
from contention.wire.resp_values import error_of, flat_elements, shown_value

ServerEvent = ReplyEnd[RedisReply] | ReplyPart | Push | Failure

_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})
_CONFIRMATIONS = frozenset(name.lower().encode() for name in SUBSCRIPTIONS)
_CONFIRMATION_ELEMENTS = 3


class RedisServerHalf:
    """Gives each released request its reply, and finds what is no reply at all."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session
        self._scanner = ValueScanner()
        self._owed: deque[RedisRequest] = deque()
        self._confirmed = 0
        self._due = 0
        self._channels: dict[str, set[bytes]] = {}

    @property
    def awaited(self) -> bool:
        """Whether the reply to a released request has not ended."""
        return bool(self._owed)

    def release(self, request: RedisRequest) -> list[ServerEvent]:
        """Await the reply to a request that goes to the server now.

        Returns:
            the end of the reply if there will be none.
        """
        if request.answer is Answer.NONE:
            self._settle(request, None)
            return [ReplyEnd(request.number, b"", RedisReply(is_skipped=True))]
        self._owed.append(request)
        return []

    def receive(self, data: bytes, events: list[ServerEvent]) -> None:
        """Append the events that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        values: list[Value] = []
        try:
            self._scanner.receive(data, values)
        finally:
            # Values before a broken one are as good as any.
            events.extend(map(self._event, values))

    def close(self) -> list[ServerEvent]:
        """The end of the server's stream: what was still awaited is lost."""
        lost = [ReplyEnd(one.number, b"", RedisReply(is_lost=True)) for one in self._owed]
        self._owed.clear()
        return [*lost]

    def _event(self, value: Value) -> ServerEvent:
        state = self._state()
        symbol = self._symbol(value, state)
        following = SERVER_TABLE[state].get(symbol)
        if following is None:
            raise Stopped(UnknownMessage(Side.SERVER, byte_text(ord(value.kind)), state))
        if following is ServerState.DONE:
            return self._reply_end(value)
        if state is ServerState.CONFIRMATIONS and symbol == "confirmation":
            return ReplyPart(self._owed[0].number, value.data)
        return Push(value.data, shown_value(value))

    def _reply_end(self, value: Value) -> ServerEvent:
        request = self._owed.popleft()
        self._confirmed = 0
        error = error_of(value)
        self._settle(request, error)
        return ReplyEnd(request.number, value.data, RedisReply(shown_value(value), error))

    def _settle(self, request: RedisRequest, error: str | None) -> None:
        """Follow what a command changed of its connection, now that the server has done it."""
        session = self._session
        if request.is_queued:
            return
        if request.name == "SELECT" and request.answer is not Answer.NONE:
            session.unsettled_selects -= 1
            if error:
                session.database = request.database
        elif error is None and request.name == "HELLO" and request.arguments[1:]:
            session.protocol = int(request.arguments[1])
        elif error is None and request.name == "RESET":
            session.protocol = 2
            self._channels.clear()

    def _state(self) -> ServerState:
        if not self._owed:
            return ServerState.LISTENING if self._is_listening() else ServerState.NOTHING
        is_subscription = self._owed[0].answer is Answer.CONFIRMATIONS
        return ServerState.CONFIRMATIONS if is_subscription else ServerState.REPLY

    def _is_listening(self) -> bool:
        return any(self._channels.values())

    def _symbol(self, value: Value, state: ServerState) -> str:
        """The value's name in the server's table."""
        if value.kind in "-!":
            return "error"
        may_be_message = state is ServerState.CONFIRMATIONS or self._is_listening()
        if value.kind != ">" and not (value.kind == "*" and may_be_message):
            return "value"
        elements = flat_elements(value, _CONFIRMATION_ELEMENTS)
        first = elements[0] if elements else b""
        if first in _CONFIRMATIONS:
            return self._confirmation(first.decode().upper(), elements, state)
        if value.kind == ">":
            return "push"
        return "message" if first in _MESSAGES else "value"

    def _confirmation(self, name: str, elements: tuple[bytes, ...], state: ServerState) -> str:
        """Follow a subscription that begins or ends; the server may end one by itself."""
        channels = self._channels.setdefault(name.replace("UNSUB", "SUB"), set())
        is_asked = state is ServerState.CONFIRMATIONS and self._owed[0].name == name
        if is_asked and not self._confirmed:
            named = len(self._owed[0].arguments) - 1
            self._due = named or max(1, len(channels))
        if "UNSUB" in name:
            channels.discard(elements[1])
        else:
            channels.add(elements[1])
        if not is_asked:
            return "confirmation" if state is ServerState.LISTENING else "push"
        self._confirmed += 1
        return "last confirmation" if self._confirmed >= self._due else "confirmation"
