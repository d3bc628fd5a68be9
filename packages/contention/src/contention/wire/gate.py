"""A gate: stands between a worker and a server, and lets one request at a time go on.

Everything that is no request passes at once. A request passes when its keeper says so, at once or
later; the requests of one connection keep their order. The gate changes no byte.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from contention.wire.events import (
    Answer,
    Failure,
    Malformed,
    Refused,
    ReplyEnd,
    TlsDemanded,
    UnknownMessage,
)
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import (
    PostgresReply,
    PostgresRequest,
    SessionReady,
    StartUp,
)
from contention.wire.redis import RespFraming
from contention.wire.redis_requests import RedisReply, RedisRequest

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


class Keeper(Protocol):
    """Decides what passes, and is told of everything. It is called in the gates' event loop."""

    def opened(self, lane: "Lane") -> None:
        """A worker opened a connection."""

    def arrived(self, lane: "Lane", request: Request) -> bool:
        """A request came; whether it passes at once. If not, `Lane.let_pass` lets it go later."""

    def replied(self, lane: "Lane", request: Request, reply: Reply) -> None:
        """A reply has ended."""

    def failed(self, lane: "Lane", failure: Failure) -> None:
        """The connection speaks in a way that no request's end can be found; it was closed."""

    def closed(self, lane: "Lane") -> None:
        """The connection is gone."""


class Lane:
    """One connection of a worker, through its gate.

    Attributes:
        worker: whose connection it is.
        number: 1, 2, 3 … within the gate.
        framing: what the connection's bytes mean.
        process_id: of the PostgreSQL backend that serves it; `None` for Redis, or before log-in.
        start_up: what the client asked of PostgreSQL when it opened the connection, by name.
    """

    def __init__(self, worker: str, number: int, framing: Framing, keeper: Keeper) -> None:
        self.worker = worker
        self.number = number
        self.framing = framing
        self.process_id: int | None = None
        self.start_up: Mapping[str, str] = {}
        self._keeper = keeper
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._outbound: deque[bytes | Request] = deque()
        self._passing: set[int] = set()
        self._awaited: dict[int, Request] = {}
        self._is_open = True

    @property
    def name(self) -> str:
        """The worker and the number of its connection, as in ``w1/2``."""
        return f"{self.worker}/{self.number}"

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._is_open

    @property
    def held(self) -> Request | None:
        """The request that waits to pass and has none before it; `None` without one."""
        head = self._outbound[0] if self._outbound else None
        return None if head is None or isinstance(head, bytes) else head

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

    def close(self) -> None:
        """Cut the connection on both sides, at once."""
        for transport in (self._client, self._server):
            if transport is not None:
                transport.abort()
        self._gone()

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

    def from_client(self, data: bytes) -> None:
        """Bytes of the worker."""
        for event in self.framing.receive_client(data):
            if isinstance(event, _FAILURES):
                self._fail(event)
                return
            if isinstance(event, Answer):
                self._write(self._client, event.data)
            elif isinstance(event, PostgresRequest | RedisRequest):
                self._outbound.append(event)
                if self._keeper.arrived(self, event):
                    self._passing.add(event.number)
            else:
                if isinstance(event, StartUp):
                    self.start_up = event.parameters
                self._outbound.append(event.data)
        self._pass_on()

    def from_server(self, data: bytes) -> None:
        """Bytes of the server."""
        self._told(self.framing.receive_server(data))

    def client_lost(self) -> None:
        """The worker closed its side."""
        if self._server is not None:
            self._server.close()
        self._gone()

    def server_lost(self) -> None:
        """The server closed its side."""
        self._told(self.framing.close_server())
        if self._client is not None:
            self._client.close()
        self._gone()

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
        for event in events:
            if isinstance(event, _FAILURES):
                self._fail(event)
                return
            if isinstance(event, SessionReady):
                self.process_id = event.process_id
            self._write(self._client, getattr(event, "data", b""))
            if isinstance(event, ReplyEnd):
                request = self._awaited.pop(event.number, None)
                if request is not None:
                    self._keeper.replied(self, request, event.reply)

    def _fail(self, failure: Failure) -> None:
        self._keeper.failed(self, failure)
        self.close()

    def _gone(self) -> None:
        if self._is_open:
            self._is_open = False
            self._keeper.closed(self)

    @staticmethod
    def _write(transport: asyncio.Transport | None, data: bytes) -> None:
        if transport is not None and data and not transport.is_closing():
            transport.write(data)


class _ClientSide(asyncio.Protocol):
    def __init__(self, open_lane: Callable[[], Lane], connect: Callable[[Lane], None]) -> None:
        self._open_lane = open_lane
        self._connect = connect

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._lane = self._open_lane()
        self._lane.client_connected(transport)
        if self._lane.is_open:
            self._connect(self._lane)

    def data_received(self, data: bytes) -> None:
        self._lane.from_client(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        self._lane.client_lost()


class _ServerSide(asyncio.Protocol):
    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._lane.server_connected(transport)

    def data_received(self, data: bytes) -> None:
        self._lane.from_server(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        self._lane.server_lost()


class Gate:
    """Listens for one worker and opens, for each of its connections, one to the server.

    Args:
        worker: whose gate it is.
        server: where its connections lead.
        framing: makes the framing of one connection.
        keeper: decides what passes.
    """

    def __init__(
        self, worker: str, server: Address, framing: Callable[[], Framing], keeper: Keeper
    ) -> None:
        self.worker = worker
        self.lanes: list[Lane] = []
        self._server = server
        self._framing = framing
        self._keeper = keeper
        self._listener: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def listen(self, address: Address) -> Address:
        """Begin to listen; a port of 0 becomes a free one."""
        loop = asyncio.get_running_loop()
        if address.path:
            self._listener = await loop.create_unix_server(
                self._client_side, address.path, start_serving=False
            )
        else:
            self._listener = await loop.create_server(
                self._client_side, address.host, address.port, start_serving=False
            )
        # Known before it serves: whoever is cancelled meanwhile can close it.
        await self._listener.start_serving()
        if address.path:
            return address
        return Address(host=address.host, port=self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and cut every connection, those included that were just accepted."""
        self._is_closed = True
        if self._listener is not None:
            self._listener.close()
        await asyncio.sleep(0)  # the loop makes the connections that it has accepted
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for lane in self.lanes:
            lane.close()
        if self._listener is not None:
            await self._listener.wait_closed()

    def _client_side(self) -> _ClientSide:
        return _ClientSide(self._open_lane, self._connect)

    def _open_lane(self) -> Lane:
        lane = Lane(self.worker, len(self.lanes) + 1, self._framing(), self._keeper)
        self.lanes.append(lane)
        if self._is_closed:
            lane.close()
        return lane

    def _connect(self, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(self._reach_server(lane))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _reach_server(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._server.path:
                await loop.create_unix_connection(lambda: _ServerSide(lane), self._server.path)
            else:
                await loop.create_connection(
                    lambda: _ServerSide(lane), self._server.host, self._server.port
                )
        except OSError as error:
            refusal = Refused(f"a connection to {self._server}", f"nobody answers there ({error})")
            self._keeper.failed(lane, refusal)
            lane.close()
