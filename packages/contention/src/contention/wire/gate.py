"""A gate: stands between a worker and a server, and lets one request at a time go on.

Everything that is no request passes at once. A request passes when its keeper says so, at once or
later; the requests of one connection keep their order. The gate changes no byte, but where its
keeper has requests taken apart (`request_parts`).
"""

import asyncio
from collections.abc import Callable

from contention.wire.backends import Backend, Backends
from contention.wire.events import Refused
from contention.wire.farewells import Farewells
from contention.wire.keepers import Keeper
from contention.wire.lane import Address, Framing, Lane, Reply, Request
from contention.wire.listening_lane import ListeningLane

__all__ = ["Address", "Framing", "Gate", "Keeper", "Lane", "Reply", "Request"]


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
        backends: keeps the backends of a PostgreSQL for other connections; without, each
            connection has one of its own.
        farewells: answers those that are cut off in a transaction; without, nobody does.

    Attributes:
        keeper: decides what passes on the connections that are opened from now on.
        is_shut: whether connections are cut as soon as they are opened.
    """

    def __init__(
        self,
        worker: str,
        server: Address,
        framing: Callable[[], Framing],
        keeper: Keeper,
        backends: Backends | None = None,
        *,
        farewells: Farewells | None = None,
    ) -> None:
        self.worker = worker
        self.keeper = keeper
        self.is_shut = False
        self.lanes: list[Lane] = []
        self._server = server
        self._framing = framing
        self._backends = backends
        self._farewells = farewells
        self._listener: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

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
        self.is_shut = True
        if self._listener is not None:
            await self._stop_accepting(self._listener)
            self._listener.close()
        await asyncio.sleep(0)  # the loop makes the connections that it has accepted
        await self.empty()
        if self._listener is not None:
            await self._listener.wait_closed()

    async def _stop_accepting(self, listener: asyncio.Server) -> None:
        """Whoever was accepted in this turn of the loop would not find a listener that is closed.

        Its side of the connection would then belong to nobody, and stay open.
        """
        loop = asyncio.get_running_loop()
        for one in listener.sockets:
            loop.remove_reader(one)
        await asyncio.sleep(0)

    async def empty(self) -> None:
        """Cut every connection that there is, and go on listening."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        while self.lanes:
            lane = self.lanes[0]
            await lane.end()
            lane.close()
            self.lanes.remove(lane)

    def _client_side(self) -> _ClientSide:
        return _ClientSide(self._open_lane, self._connect)

    def _open_lane(self) -> Lane:
        number = len(self.lanes) + 1
        framing, keeper = self._framing(), self.keeper
        lane = ListeningLane(
            self.worker, number, framing, keeper, self._backends, farewells=self._farewells
        )
        self.lanes.append(lane)
        if self.is_shut:
            lane.close()
        return lane

    def _connect(self, lane: Lane) -> None:
        if self._backends is None:
            self._open_server_side(lane)
        else:
            lane.reach_when_asked(self._take_server_side)

    def _take_server_side(self, lane: Lane) -> None:
        """A backend that waits for such a connection, or else a new one."""
        packet = lane.start_up_packet
        backend = self._backends.take(packet) if self._backends and packet else None
        if backend is None:
            self._open_server_side(lane)
        else:
            lane.served_by(backend)
            backend.serve(lane)

    def _open_server_side(self, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(self._reach_server(lane))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _reach_server(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._server.path:
                await loop.create_unix_connection(lambda: self._side(lane), self._server.path)
            else:
                await loop.create_connection(
                    lambda: self._side(lane), self._server.host, self._server.port
                )
        except OSError as error:
            refusal = Refused(f"a connection to {self._server}", f"nobody answers there ({error})")
            lane.fail(refusal)

    def _side(self, lane: Lane) -> asyncio.Protocol:
        if self._backends is None:
            return _ServerSide(lane)
        backend = Backend(lane)
        lane.served_by(backend)
        return backend
