"""Redis' protocol as a pure core: bytes in, events out.

Every command is a request of its own: RESP has no mark where a client waits, and the server may
run other clients' commands between those of a pipeline. What is queued for EXEC touches nothing
until EXEC, which touches all of it, and what was watched, at once.
"""

from contention.wire.framing import TwoHalves
from contention.wire.redis_client import ClientEvent, RedisClientHalf
from contention.wire.redis_lifecycle import ClientState
from contention.wire.redis_requests import RedisRequest, RedisSession
from contention.wire.redis_scripts import Scripts
from contention.wire.redis_server import RedisServerHalf, ServerEvent


class RespFraming(TwoHalves[RedisRequest, ClientEvent, ServerEvent]):
    """One connection between a client and a Redis server, seen from between them.

    Args:
        scripts: the texts of scripts, shared between the connections of one server.
    """

    def __init__(self, scripts: Scripts | None = None) -> None:
        self._session = RedisSession()
        self._client = RedisClientHalf(self._session, scripts or Scripts())
        self._server = RedisServerHalf(self._session)
        super().__init__(self._client, self._server, (ValueError,))

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
