"""One connection of a worker through its gate: what passes, what is held, and how it ends."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Final

from contention.wire.backends import Backend, Backends
from contention.wire.events import (
    Answer,
    Failure,
    Goodbye,
    Malformed,
    Refused,
    ReplyEnd,
    TlsDemanded,
    UnknownMessage,
)
from contention.wire.farewells import Farewells
from contention.wire.keepers import Divider, Keeper
from contention.wire.own_transactions import OwnTransactions
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import (
    Cancel,
    LogInPart,
    PostgresReply,
    PostgresRequest,
    SessionReady,
    StartUp,
)
from contention.wire.redis import RespFraming
from contention.wire.redis_commands import RedisKind
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.request_parts import skipped
from contention.wire.rewording import Reworded

Request = PostgresRequest | RedisRequest
Reply = PostgresReply | RedisReply
Framing = PostgresFraming | RespFraming

_FAILURES: Final = (UnknownMessage, Malformed, TlsDemanded, Refused)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a path of a unix socket, or a host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.host):
            raise ValueError("an address is a path, or a host and a port")

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Lane:
    """One connection of a worker, through its gate.

    Attributes:
        worker: whose connection it is.
        number: 1, 2, 3 … within the gate.
        framing: what the connection's bytes mean.
        process_id: of the PostgreSQL backend that serves it; `None` for Redis, or before log-in.
        start_up: what the client asked of PostgreSQL when it opened the connection, by name.
        start_up_packet: the same as it was sent.
        greeting: what the server said until the session was ready.
        awaits_sync: whether the server's latest reply had no ReadyForQuery: it may heed no Query.
        has_subscribed: whether it has asked to be sent messages (LISTEN, SUBSCRIBE).
        has_let_go: whether the server has said that nothing of the session is left, locks included.
    """

    def __init__(
        self,
        worker: str,
        number: int,
        framing: Framing,
        keeper: Keeper,
        backends: Backends | None = None,
        *,
        farewells: Farewells | None = None,
    ) -> None:
        self.worker = worker
        self.number = number
        self.framing = framing
        self.process_id: int | None = None
        self.start_up: Mapping[str, str] = {}
        self.start_up_packet = b""
        self.greeting = bytearray()
        self.has_subscribed = False
        self.has_let_go = False
        self.awaits_sync = False
        self._keeper = keeper
        self._backends = backends
        self._farewells = farewells
        self._backend: Backend | None = None
        self._reach: Callable[[Lane], None] | None = None
        self._leaving: asyncio.Event | None = None
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._outbound: deque[bytes | Request] = deque()
        self._passing: set[int] = set()
        self._awaited: dict[int, Request] = {}
        self._reworded: Reworded | None = None
        self._is_open = True
        self._count = 0
        self._own: OwnTransactions | None = None
        if isinstance(framing, PostgresFraming) and isinstance(keeper, Divider):
            self._own = OwnTransactions(partial(keeper.ends_apart, self))

    @property
    def name(self) -> str:
        """The worker and the number of its connection, as in ``w1/2``."""
        return f"{self.worker}/{self.number}"

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._is_open

    @property
    def is_leaving(self) -> bool:
        """Whether the worker has gone and the server is still undoing what the session left."""
        return self._is_open and self._leaving is not None

    @property
    def transaction_status(self) -> str | None:
        """PostgreSQL's: ``I`` idle, ``T`` in a transaction, ``E`` in a failed one."""
        return getattr(self.framing, "transaction_status", None)

    @property
    def is_skipping(self) -> bool:
        """Whether the server heeds nothing before the next Sync."""
        return isinstance(self.framing, PostgresFraming) and self.framing.is_skipping

    @property
    def held(self) -> Request | None:
        """The request that waits to pass and has none before it; `None` without one.

        A part of a request waits for the answer to the part before it.
        """
        head = self._outbound[0] if self._outbound else None
        if head is None or isinstance(head, bytes) or head.number in self._passing:
            return None
        is_later_part = isinstance(head, PostgresRequest) and head.follows
        return None if is_later_part and self._awaited else head

    @property
    def awaited(self) -> tuple[Request, ...]:
        """The requests that have passed and have not been answered."""
        return tuple(self._awaited.values())

    @property
    def is_connecting(self) -> bool:
        """Whether the server's side is not there yet."""
        return self._is_open and self._server is None

    @property
    def is_awaiting_reply(self) -> bool:
        """Whether a request that passed has not been answered."""
        return bool(self._awaited)

    def let_pass(self) -> None:
        """Let the held request go on.

        Raises:
            ValueError: none is held.
        """
        request = self.held
        if request is None:
            raise ValueError(f"{self.name} holds no request")
        self._passing.add(request.number)
        self._pass_on()

    def reword(self, reworded: Reworded) -> None:
        """Let the client be told of the next error in these words."""
        self._reworded = reworded

    async def end(self) -> None:
        """Cut the worker off; return when nothing of the session is left, or it was cut too."""
        self._cut_off()
        if self._is_open and self._leaving is None:
            self._leave()
        if self._is_open and self._leaving is not None:
            await self._leaving.wait()

    def _cut_off(self) -> None:
        if self._client is None:
            return
        is_in_transaction = self.transaction_status in {"T", "E"} and not self._awaited
        if self._farewells is None or not is_in_transaction or self._client.is_closing():
            self._client.abort()
            return
        unread = [one if isinstance(one, bytes) else one.data for one in self._outbound]
        self._farewells.say(self._client, b"".join(unread))
        self._client = None  # it is not this connection's any more, to be cut with it

    def close(self) -> None:
        """Cut the connection on both sides, at once."""
        for transport in (self._client, self._server):
            if transport is not None:
                transport.abort()
        self._gone()

    def fail(self, failure: Failure) -> None:
        """Cut the connection, which cannot be followed."""
        self._keeper.failed(self, failure)
        self.close()

    def client_connected(self, transport: asyncio.Transport) -> None:
        """The worker's side is there."""
        self._client = transport
        if not self._is_open:
            transport.abort()
            return
        self._keeper.opened(self)

    def server_connected(self, transport: asyncio.Transport) -> None:
        """The server's side is there; what waited for it goes on."""
        self._server = transport
        if not self._is_open:
            transport.abort()
        self._pass_on()

    def reach_when_asked(self, reach: "Callable[[Lane], None]") -> None:
        """Connect to the server once the client has said what for."""
        self._reach = reach

    def served_by(self, backend: Backend) -> None:
        """Which backend the server's side is."""
        self._backend = backend

    def server_taken_over(self, transport: asyncio.Transport, greeting: bytes) -> None:
        """A backend that has served before is the server's side, and greets as it did then."""
        self._server = transport
        self._outbound.popleft()  # the start-up, which it has had
        self.from_server(greeting)
        self._pass_on()

    def server_retired(self, *, has_let_go: bool) -> None:
        """Nothing of the session is left, or its backend went away while that was undone."""
        self.has_let_go = has_let_go
        self._gone()

    def from_client(self, data: bytes) -> None:
        """Bytes of the worker."""
        for event in self.framing.receive_client(data):
            if isinstance(event, _FAILURES):
                self.fail(event)
                return
            if isinstance(event, Answer):
                self._write(self._client, event.data)
            elif isinstance(event, Goodbye) and self._leave_politely():
                return
            elif isinstance(event, PostgresRequest | RedisRequest):
                self._arrived(event)
            else:
                if isinstance(event, StartUp):
                    self.start_up, self.start_up_packet = event.parameters, event.data
                elif isinstance(event, Cancel) and self._backends:
                    self._backends.spoil(event.process_id)
                self._outbound.append(event.data)
                self._reach_server()
        self._pass_on()

    def from_server(self, data: bytes) -> None:
        """Bytes of the server."""
        self._told(self.framing.receive_server(data))

    def client_lost(self) -> None:
        """The worker closed its side."""
        if self._is_open and self._leaving is None:
            self._leave()

    def server_lost(self) -> None:
        """The server closed its side."""
        self._told(self.framing.close_server())
        if self._client is not None:
            self._client.close()
        self._gone()

    def _arrived(self, request: Request) -> None:
        self.has_subscribed = self.has_subscribed or _subscribes(request)
        if isinstance(request, PostgresRequest) and self._backend and self._backends:
            self._backends.heard(self._backend, request.texts)
        for part in self._parts(request):
            self._outbound.append(part)
            if self._keeper.arrived(self, part):
                self._passing.add(part.number)

    def _parts(self, request: Request) -> Iterator[Request]:
        """What a request consists of, numbered on."""
        parts: tuple[Request, ...] = (request,)
        if self._own is not None and isinstance(request, PostgresRequest):
            framing = self.framing
            assert isinstance(framing, PostgresFraming)  # noqa: S101 - it has PostgreSQL's requests
            is_next = not (self._awaited or self._outbound)
            if is_next and not self.awaits_sync:
                self._own.stands(framing.transaction_status or "I")
            parts = self._own.parts(request, framing.encoding, is_next=is_next)
        for part in parts:
            self._count += 1
            yield part if part.number == self._count else replace(part, number=self._count)

    def _skip_rest(self) -> None:
        """Let what is left of a request that has failed in part pass to a server that skips it."""
        following = takewhile(lambda one: getattr(one, "follows", False), self._outbound)
        rest = [skipped(part) for part in following if isinstance(part, PostgresRequest)]
        for place, part in enumerate(rest):
            self._outbound[place] = part
            self._passing.add(part.number)
        self._pass_on()

    def _reach_server(self) -> None:
        if self._reach is not None:
            reach, self._reach = self._reach, None
            reach(self)

    def _leave_politely(self) -> bool:
        """Let the backend be kept; `False` when the goodbye has to be passed on."""
        if not self._retires():
            return False
        if self._client is not None:
            self._client.close()
        return True

    def _leave(self) -> None:
        if self._retires():
            return
        if self._server is not None:
            self._server.close()
        self._gone()

    def _retires(self) -> bool:
        if self._backend is None or self._backends is None or not self._is_server_at_rest():
            return False
        if not self._backends.retire(self._backend, self):
            return False
        self._leaving = asyncio.Event()
        self._server = None  # it is not this connection's any more, to be cut with it
        self._outbound.clear()
        return True

    def _is_server_at_rest(self) -> bool:
        """Whether the server has answered everything that was passed on, and waits."""
        framing = self.framing
        return (
            self._server is not None
            and not self._server.is_closing()
            and self.process_id is not None
            and not self._awaited
            and isinstance(framing, PostgresFraming)
            and framing.is_server_at_rest
        )

    def _pass_on(self) -> None:
        while self._server is not None and self._outbound:
            head = self._outbound[0]
            if isinstance(head, bytes):
                self._outbound.popleft()
                self._write(self._server, head)
                continue
            if head.number not in self._passing:
                return
            self._outbound.popleft()
            self._passing.discard(head.number)
            self._awaited[head.number] = head
            self._write(self._server, head.data)
            self._told(self.framing.release(head))  # type: ignore[arg-type]

    def _told(self, events: Sequence[object]) -> None:
        for happened in events:
            event = happened if self._reworded is None else self._in_other_words(happened)
            if self._own is not None:
                event = self._own.told(event)
            if isinstance(event, _FAILURES):
                self.fail(event)
                return
            if isinstance(event, LogInPart | SessionReady):
                self.greeting += event.data
            if isinstance(event, SessionReady):
                self.process_id = event.process_id
            self._write(self._client, getattr(event, "data", b""))
            if isinstance(event, ReplyEnd):
                self.awaits_sync = getattr(event.reply, "transaction_status", None) is None
                request = self._awaited.pop(event.number, None)
                if request is not None:
                    self._keeper.replied(self, request, event.reply)
                if self.awaits_sync and event.reply.error is not None:
                    self._skip_rest()

    def _in_other_words(self, event: object) -> object:
        assert self._reworded is not None  # noqa: S101 - else nobody asks
        told = self._reworded.told(event)
        if self._reworded.is_over:
            self._reworded = None
        return told

    def _gone(self) -> None:
        if self._is_open:
            self._is_open = False
            if self._leaving is not None:
                self._leaving.set()
            self._keeper.closed(self)

    @staticmethod
    def _write(transport: asyncio.Transport | None, data: bytes) -> None:
        if transport is not None and data and not transport.is_closing():
            transport.write(data)


def _subscribes(request: Request) -> bool:
    if isinstance(request, RedisRequest):
        return request.kind is RedisKind.SUBSCRIPTION
    return any("listen" in text.casefold() for text in request.texts)
