"""A Redis that goes back to how ``setup`` left it, before every run.

Everything is emptied and put back in one write: keys of every database as DUMP gave them, with
the time that they had left, and function libraries. Scripts are forgotten, but for those that are
known from a rehearsal: these are loaded, as on a server that has run for a while. Whoever else is
connected is cut off first, so that nothing can still arrive. Settings (CONFIG SET) and users (ACL)
belong to the whole server and are not put back; a worker that changes them is refused.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from contention.wire.own_connections import connect_redis, connect_redis_once
from contention.wire.servers import RedisServer, UnusableServerError

_EMPTY: Final = (
    (b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"),
    (b"CLIENT", b"KILL", b"TYPE", b"pubsub", b"SKIPME", b"yes"),
    (b"FLUSHALL", b"SYNC"),
    (b"SCRIPT", b"FLUSH", b"SYNC"),
    (b"FUNCTION", b"FLUSH", b"SYNC"),
)
_REPLY_SECONDS: Final = 30

Command = tuple[bytes, ...]


class KeysStart:
    """The start of every run, and the way back to it; made by `KeysStart.of`.

    Attributes:
        client: whose connection puts everything back; so it is the only one that stays open, and
            whoever looks at the keys of a run may do so by it.
    """

    def __init__(self, commands: Sequence[Command], client: Redis, database: int) -> None:
        self.client = client
        self._data = b"".join(map(_encoded, commands))
        self._select = _encoded((b"SELECT", b"%d" % database))
        self._replies = len(commands) + 1

    @classmethod
    async def of(cls, server: RedisServer) -> "KeysStart":
        """The state of a server as it is now.

        Raises:
            UnusableServerError: it does not answer, or does not know a command.
        """
        commands = [*_EMPTY, *await _functions(server), *await _keys(server)]
        return cls(commands, connect_redis_once(server), server.database)

    def keep(self, scripts: Sequence[bytes]) -> None:
        """Begin every run with these scripts loaded, so that nobody is told that one is missing."""
        loads = [(b"SCRIPT", b"LOAD", script) for script in scripts]
        self._data += b"".join(map(_encoded, loads))
        self._replies += len(loads)

    async def begin_to_restore(self) -> None:
        """Have everything put back; `restored` has to follow.

        Raises:
            UnusableServerError: the server left.
        """
        await self.client.initialize()
        assert self.client.connection is not None  # noqa: S101 - it has just been taken
        try:
            await self.client.connection.send_packed_command(self._data + self._select)
        except RedisError as error:
            raise UnusableServerError(f"Redis left while it was put back: {error}") from error

    async def restored(self) -> None:
        """Wait until everything is put back.

        Raises:
            UnusableServerError: the server refuses a command, or left.
        """
        assert self.client.connection is not None  # noqa: S101 - it is being put back
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                for _ in range(self._replies):
                    await self.client.connection.read_response()
        except ResponseError as error:
            raise UnusableServerError(f"Redis refuses to be put back: {error}") from error
        except (OSError, RedisError) as error:
            raise UnusableServerError(f"Redis left while it was put back: {error}") from error

    async def restore(self) -> None:
        """Put everything back.

        Raises:
            UnusableServerError: the server refuses a command, or left.
        """
        await self.begin_to_restore()
        await self.restored()

    async def close(self) -> None:
        """End the connection; the keys stay as they are."""
        await self.client.aclose()


async def _functions(server: RedisServer) -> list[Command]:
    client = connect_redis(server)
    try:
        return [(b"FUNCTION", b"RESTORE", await client.function_dump())]
    finally:
        await client.aclose()


async def _keys(server: RedisServer) -> list[Command]:
    client = connect_redis(server)
    try:
        databases = [int(name.removeprefix("db")) for name in await client.info("keyspace")]
    finally:
        await client.aclose()
    commands: list[Command] = []
    for database in databases:
        commands.append((b"SELECT", b"%d" % database))
        commands += await _keys_of(replace(server, database=database))
    return commands


async def _keys_of(server: RedisServer) -> list[Command]:
    client = connect_redis(server)
    commands: list[Command] = []
    try:
        async for key in client.scan_iter(count=1000):
            dumped, left_ms = await client.dump(key), await client.pttl(key)
            if isinstance(dumped, bytes):
                commands.append((b"RESTORE", key, b"%d" % max(0, left_ms), dumped))
    finally:
        await client.aclose()
    return commands


def _encoded(command: Command) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
    return b"".join(parts)
