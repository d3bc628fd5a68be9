"""PostgreSQL's protocol 3 as a pure core: bytes in, events out.

client → `receive_client` → requests → `release` → server → `receive_server` → replies → client

A request is everything up to a point where the client waits: a Query, a FunctionCall, a run that
ends in Sync or in Flush, a copy's data. Its reply has ended when the server waits again, which
after a Flush is told by no message of its own, but by the answers to each message of the run.
"""

from contention.wire.events import Failure, Malformed, Side, Stopped
from contention.wire.postgres_client import ClientEvent, ClientHalf
from contention.wire.postgres_lifecycle import ClientState, ReplyState
from contention.wire.postgres_messages import BROKEN_BODY
from contention.wire.postgres_requests import PostgresRequest
from contention.wire.postgres_server import ServerEvent, ServerHalf
from contention.wire.postgres_session import Session


class PostgresFraming:
    """One connection between a client and a PostgreSQL server, seen from between them."""

    def __init__(self) -> None:
        self._session = Session()
        self._client = ClientHalf(self._session)
        self._server = ServerHalf(self._session)
        self._released = 0
        self._failure: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        """Why the framing stopped; None while it goes on."""
        return self._failure

    @property
    def client_state(self) -> ClientState:
        """Where the client is in its life cycle."""
        return self._client.state

    @property
    def unfinished(self) -> str:
        """The messages of a run whose Sync or Flush has not come, as in ``PB``; usually empty."""
        return self._client.unfinished

    @property
    def is_awaiting_reply(self) -> bool:
        """Whether the reply to a released request has not ended."""
        return self._server.awaited

    @property
    def is_server_at_rest(self) -> bool:
        """Whether the server has answered everything that was released, and waits for more."""
        return self._session.resting is ReplyState.IDLE and not self._server.awaited

    @property
    def transaction_status(self) -> str | None:
        """The last ReadyForQuery's: ``I`` idle, ``T`` in a transaction, ``E`` in a failed one."""
        return self._server.transaction_status

    @property
    def parameters(self) -> dict[str, str]:
        """The settings that the server has reported."""
        return dict(self._session.parameters)

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
        except (Stopped, *BROKEN_BODY) as error:
            self._failure = _failure(Side.CLIENT, error)
            events.append(self._failure)
        return events

    def release(self, request: PostgresRequest) -> list[ServerEvent]:
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
        except (Stopped, *BROKEN_BODY) as error:
            self._failure = _failure(Side.SERVER, error)
            events.append(self._failure)
        return events

    def close_server(self) -> list[ServerEvent]:
        """Say that the server closed: every reply that had not ended is lost."""
        return self._server.close()


def _failure(side: Side, error: Exception) -> Failure:
    if isinstance(error, Stopped):
        return error.failure
    return Malformed(side, f"a message's body cannot be read: {error}")
