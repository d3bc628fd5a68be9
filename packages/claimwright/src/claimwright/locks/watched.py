"""The client that redis-py's lock sees: its commands pass through, and can be watched."""

import asyncio
from typing import Any, Final

from redis.asyncio import Redis

_OWNS_SCRIPT: Final = "return redis.call('get', KEYS[1]) == ARGV[1] and 1 or 0"


class View:
    """The client as one ``Lock`` sees it: commands pass through, and its SETs can be watched.

    It is how an attempt tells a held key (SETs are answered, more will follow) from a server that
    is away, and how it stops between two commands instead of in the middle of one. ``under_way``
    means that a SET was not answered, by failure too: the key may be ours or become ours. It is
    True from the start, so that a lock of another kind, whose commands are not seen, counts as
    one long command.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._answered = False
        self.under_way = True
        self.stopped = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    async def set(self, name: str, value: bytes, **options: Any) -> bool:  # noqa: ANN401 - redis-py's own options, passed on
        """Send SET NX; True also when an earlier SET of ours, its reply lost, has the key."""
        self._stop_if_told()
        self.under_way = True
        taken = await self._client.set(name, value, **options) or await self._owns(name, value)
        self.under_way, self._answered = False, True
        if not taken:
            self._stop_if_told()
        return bool(taken)

    def heard(self) -> bool:
        """Whether the server answered since the last call, or owes no answer."""
        heard = self._answered or not self.under_way
        self._answered = False
        return heard

    async def _owns(self, name: str, value: bytes) -> bool:
        return bool(await self._client.eval(_OWNS_SCRIPT, 1, name, value))

    def _stop_if_told(self) -> None:
        if self.stopped:
            raise asyncio.CancelledError
