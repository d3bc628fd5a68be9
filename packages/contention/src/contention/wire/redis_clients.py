"""Which connections Redis itself holds back, as in BLPOP on an empty list."""

from collections.abc import Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from contention.wire.gate import Lane
from contention.wire.redis_requests import RedisRequest

_BLOCKED: Final = "b"


class RedisClients:
    """Looks into one Redis server.

    Args:
        client: the kit's own connection.
    """

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._opened: list[Lane] = []
        self._seen: Sequence[Mapping[str, str]] = ()

    async def are_blocked(self, lanes: Sequence[Lane]) -> bool:
        """Whether the server holds all these lanes back until somebody writes what they wait for.

        The server reads what was sent to it in order, so that the commands have been run when it
        answers: it then counts as many blocked clients, or a reply is on its way.
        """
        if not all(_may_wait(lane) for lane in lanes):
            return False
        clients = await self.client.client_list()
        self._seen = [client for client in clients if _BLOCKED in client["flags"]]
        return len(self._seen) >= len(lanes)

    def opened(self, lane: Lane) -> None:
        """A connection to the server was opened."""
        self._opened.append(lane)

    def ids_of(self, lanes: Sequence[Lane]) -> dict[str, int]:
        """The server's own numbers of these lanes' connections, by lane; empty when in doubt.

        Args:
            lanes: all that the server held back when it was last asked about them.
        """
        asked = {lane.name: _asks(lane) for lane in lanes}
        ids = sorted(
            int(client["id"])
            for client in self._seen
            if (client["db"], client["cmd"]) in asked.values()
        )
        # The server numbers connections in the order in which they are opened.
        in_order = [lane.name for lane in self._opened if lane in lanes]
        return dict(zip(in_order, ids, strict=True)) if len(ids) == len(lanes) else {}

    async def unblock(self, client_id: int) -> bool:
        """End a blocking command as its time-out would; whether there was one."""
        return bool(await self.client.client_unblock(client_id))

    @staticmethod
    def limit_seconds(lane: Lane) -> float | None:
        """After how long a lane's command gives up; `None` when it waits for ever or not here."""
        limits = [
            float(request.block_seconds)
            for request in lane.awaited
            if isinstance(request, RedisRequest) and request.block_seconds
        ]
        return min(limits, default=None)


def _may_wait(lane: Lane) -> bool:
    return any(isinstance(one, RedisRequest) and one.may_wait for one in lane.awaited)


def _asks(lane: Lane) -> tuple[str, str]:
    """The database and the command of the request that is held back, as the server tells them."""
    request = lane.awaited[0]
    assert isinstance(request, RedisRequest)  # noqa: S101 - of a connection to Redis
    return str(request.database), request.name.lower().replace(" ", "|")
