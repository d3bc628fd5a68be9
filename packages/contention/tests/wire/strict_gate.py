"""A gate without input or output that lets one request at a time through, and keeps account.

With it a reply's end that is found too late stops the conversation for ever, and one that is
found too early makes what is left of the reply a message that nothing expects.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from contention.wire.events import Answer, Forward, Goodbye, ReplyEnd, ReplyPart
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import (
    Cancel,
    LogInPart,
    PostgresReply,
    PostgresRequest,
    SessionReady,
    StartUp,
    Unprompted,
)
from contention.wire.redis import RespFraming
from contention.wire.redis_requests import Push, RedisReply, RedisRequest

Request = PostgresRequest | RedisRequest
Reply = PostgresReply | RedisReply
_SERVER_DATA = (LogInPart, SessionReady, ReplyPart, ReplyEnd, Unprompted, Push)
_AT_ONCE = (StartUp, Cancel, Forward, Goodbye)


@dataclass
class StrictGate:
    """One connection."""

    framing: PostgresFraming | RespFraming
    requests: list[Request] = field(default_factory=list)
    replies: dict[int, Reply] = field(default_factory=dict)
    others: list[object] = field(default_factory=list)
    to_server: bytes = b""
    to_client: bytes = b""
    _waiting: deque[Any] = field(default_factory=deque)

    def client(self, data: bytes) -> None:
        for event in self.framing.receive_client(data):
            if isinstance(event, Answer):
                self.to_client += event.data
                self.others.append(event)
            elif isinstance(event, (*_AT_ONCE, PostgresRequest, RedisRequest)):
                self._waiting.append(event)
            else:
                self.others.append(event)
        self._drain()

    def server(self, data: bytes) -> None:
        self._take(self.framing.receive_server(data))
        self._drain()

    def _drain(self) -> None:
        while self._waiting and not self.framing.is_awaiting_reply:
            event = self._waiting.popleft()
            self.to_server += event.data
            if isinstance(event, (PostgresRequest, RedisRequest)):
                self.requests.append(event)
                self._take(self.framing.release(event))  # type: ignore[arg-type]
            else:
                self.others.append(event)

    def _take(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, ReplyEnd):
                assert event.number not in self.replies
                self.replies[event.number] = event.reply
            if isinstance(event, _SERVER_DATA):
                self.to_client += event.data
            if not isinstance(event, (ReplyEnd, ReplyPart, LogInPart)):
                self.others.append(event)

    def take_output(self) -> tuple[bytes, bytes]:
        """What goes to the server and to the client since the last call."""
        output = self.to_server, self.to_client
        self.to_server = self.to_client = b""
        return output


def described(request: Request, reply: Reply | None) -> str:
    """A request and its reply in a line, for recordings and failure messages."""
    answer = "unanswered" if reply is None else described_reply(reply)
    return f"{described_request(request)} -> {answer}"


def described_request(request: Request) -> str:
    if isinstance(request, RedisRequest):
        touched = " ".join(f"{name}={mode}" for name, mode in request.footprint.touches)
        doubt = "" if request.footprint.is_known else " and unknown"
        wait = "" if request.block_seconds is None else f", waits {request.block_seconds} s"
        return f"{request.text} [{request.kind}: {touched or 'nothing'}{doubt}{wait}]"
    values = [f"({', '.join(one.parameters())})" for one in request.executions if one.portal]
    texts = " | ".join(" ".join(text.split()) for text in request.texts)
    shown = texts if len(texts) <= 160 else f"{texts[:160]}…"
    return f"{request.messages} {shown} {''.join(values[:3])} [{request.kind}]"


def described_reply(reply: Reply) -> str:
    flags = "skipped " * reply.is_skipped + "lost " * reply.is_lost
    if isinstance(reply, RedisReply):
        return f"{flags}{reply.text}".strip()
    rows = [", ".join(row) for result in reply.results for row in result.rows()][:3]
    parts = [
        flags.strip(),
        "awaits copy" * reply.awaits_copy,
        reply.transaction_status or "-",
        *reply.tags[:3],
        *(f"({row})" for row in rows),
        f"{reply.error.sqlstate} {reply.error.message}" if reply.error else "",
        *(f"notice {notice.message}" for notice in reply.notices),
        *(f"notified {one.channel} {one.payload}" for one in reply.notifications),
    ]
    return " ".join(part for part in parts if part)
