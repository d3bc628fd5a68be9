"""PostgreSQL's protocol 3 as a pure core: bytes in, events out.

client → `receive_client` → requests → `release` → server → `receive_server` → replies → client

A request is everything up to a point where the client waits: a Query, a FunctionCall, a run that
ends in Sync or in Flush, a copy's data. Its reply has ended when the server waits again, which
after a Flush is told by no message of its own, but by the answers to each message of the run.
"""

from contention.wire.framing import TwoHalves
from contention.wire.postgres_client import ClientEvent, ClientHalf
from contention.wire.postgres_lifecycle import ClientState, ReplyState
from contention.wire.postgres_messages import BROKEN_BODY
from contention.wire.postgres_requests import PostgresRequest
from contention.wire.postgres_server import ServerEvent, ServerHalf
from contention.wire.postgres_session import Session


class PostgresFraming(TwoHalves[PostgresRequest, ClientEvent, ServerEvent]):
    """One connection between a client and a PostgreSQL server, seen from between them."""

    def __init__(self) -> None:
        self._session = Session()
        self._client = ClientHalf(self._session)
        self._server = ServerHalf(self._session)
        super().__init__(self._client, self._server, BROKEN_BODY)

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
    def is_skipping(self) -> bool:
        """Whether the server reads on to the next Sync, after an error."""
        return self._session.resting is ReplyState.ABANDONED

    @property
    def encoding(self) -> str:
        """Python's name of the encoding in which the two speak."""
        return self._session.encoding

    @property
    def parameters(self) -> dict[str, str]:
        """The settings that the server has reported."""
        return dict(self._session.parameters)
