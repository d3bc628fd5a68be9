"""Redis' protocol as a pure core: bytes in, events out.

Every command is a request of its own: RESP has no mark where a client waits, and the server may
run other clients' commands between those of a pipeline. What is queued for EXEC touches nothing
until EXEC, which touches all of it, and what was watched, at once.
"""

from contention.wire.events import Failure, Malformed, Side, Stopped
from contention.wire.redis_client import ClientEvent, RedisClientHalf
from contention.wire.redis_lifecycle import ClientState
from contention.wire.redis_requests import RedisRequest, RedisSession
from contention.wire.redis_scripts import Scripts
from contention.wire.redis_server import RedisServerHalf, ServerEvent


class RespFraming:
    """One connection between a client and a Redis server, seen from between them.

    Args:
        scripts: the texts of scripts, shared between the connections of one server.
    """

    def __init__(self, scripts: Scripts | None = None) -> None:
        self._session = RedisSession()
        self._client = RedisClientHalf(self._session, scripts or Scripts())
        self._server = RedisServerHalf(self._session)
        self._released = 0
        self._failure: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        """Why the framing stopped; None while it goes on."""
        return self._failure

    @property
    def client_state(self) -> ClientState:
        """How the server will take the client's next command."""
        return self._client.state

    @property
    def is_awaiting_reply(self) -> bool:
        """Whether the reply to a released request has not ended."""
        return self._server.awaited

    @property
    def protocol(self) -> int:
        """2 or 3, as the last HELLO agreed."""
        return self._session.protocol

    def receive_client(self, data: bytes) -> list[ClientEvent]:
        """What bytes of the client mean, in any chunking.

        Returns:
            events in order; a `Failure` is the last there will ever be.
        """
        if self._failure:
            return [self._failure]
        events: list[ClientEvent] = []
        try:
            self._client.receive(data, events)
        except (Stopped, ValueError) as error:
            self._failure = _failure(Side.CLIENT, error)
            events.append(self._failure)
        return events

    def release(self, request: RedisRequest) -> list[ServerEvent]:
        """Say that a request goes to the server now; requests go in their order.

        Returns:
            the end of its reply when the server will not answer it, else nothing.

        Raises:
            ValueError: the request is not the next one.
        """
        if request.number != self._released + 1:
            raise ValueError(f"request {self._released + 1} is next, not {request.number}")
        self._released = request.number
        return self._server.release(request)

    def receive_server(self, data: bytes) -> list[ServerEvent]:
        """What bytes of the server mean, in any chunking.

        Returns:
            events in order; a `Failure` is the last there will ever be.
        """
        if self._failure:
            return [self._failure]
        events: list[ServerEvent] = []
        try:
            self._server.receive(data, events)
        except (Stopped, ValueError) as error:
            self._failure = _failure(Side.SERVER, error)
            events.append(self._failure)
        return events

    def close_server(self) -> list[ServerEvent]:
        """Say that the server closed: every reply that had not ended is lost."""
        return self._server.close()


def _failure(side: Side, error: Exception) -> Failure:
    if isinstance(error, Stopped):
        return error.failure
    return Malformed(side, f"a message cannot be read: {error}")
