"""Which connections Redis itself holds back, as in BLPOP on an empty list."""

from collections.abc import Callable, Sequence
from typing import Final

from redis.asyncio import Redis

from contention.wire.gate import Lane
from contention.wire.redis_requests import RedisRequest

_BLOCKED: Final = "b"


class RedisClients:
    """Looks into one Redis server.

    Args:
        connect: makes a connection of the kit's own, when there is something to ask.
    """

    def __init__(self, connect: Callable[[], Redis]) -> None:
        self._connect = connect
        self._client: Redis | None = None

    @property
    def client(self) -> Redis:
        """The kit's own connection."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    async def are_blocked(self, lanes: Sequence[Lane]) -> bool:
        """Whether the server holds all these lanes back until somebody writes what they wait for.

        The server reads what was sent to it in order, so that the commands have been run when it
        answers: it then counts as many blocked clients, or a reply is on its way.
        """
        if not all(_may_wait(lane) for lane in lanes):
            return False
        clients = await self.client.client_list()
        return sum(_BLOCKED in client["flags"] for client in clients) >= len(lanes)

    @staticmethod
    def limit_seconds(lane: Lane) -> float | None:
        """After how long a lane's command gives up; `None` when it waits for ever or not here."""
        limits = [
            float(request.block_seconds)
            for request in lane.awaited
            if isinstance(request, RedisRequest) and request.block_seconds
        ]
        return min(limits, default=None)

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._client is not None:
            await self._client.aclose()


def _may_wait(lane: Lane) -> bool:
    return any(isinstance(one, RedisRequest) and one.may_wait for one in lane.awaited)
