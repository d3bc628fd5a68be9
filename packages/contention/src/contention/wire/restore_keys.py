"""A Redis that goes back to how ``setup`` left it, before every run.

Everything is emptied and put back in one write: keys of every database as DUMP gave them, with
the time that they had left, and function libraries. Scripts are forgotten, but for those that are
known from a rehearsal: these are loaded, as on a server that has run for a while. Whoever else is
connected is cut off first, so that nothing can still arrive. Settings (CONFIG SET) and users (ACL)
belong to the whole server and are not put back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from contention.wire.own_connections import connect_redis
from contention.wire.servers import RedisServer, UnusableServerError

_EMPTY: Final = (
    (b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"),
    (b"CLIENT", b"KILL", b"TYPE", b"pubsub", b"SKIPME", b"yes"),
    (b"FLUSHALL", b"SYNC"),
    (b"SCRIPT", b"FLUSH", b"SYNC"),
    (b"FUNCTION", b"FLUSH", b"SYNC"),
)
_REPLY_SECONDS: Final = 30
_WELCOME: Final = b"+:$"
"""How replies begin that say no error."""

Command = tuple[bytes, ...]


class KeysStart:
    """The start of every run, and the way back to it; made by `KeysStart.of`."""

    def __init__(
        self,
        commands: Sequence[Command],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._data = b"".join(map(_encoded, commands))
        self._replies = len(commands)
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, server: RedisServer) -> "KeysStart":
        """The state of a server as it is now.

        Raises:
            UnusableServerError: it does not answer, or does not know a command.
        """
        commands = [*_EMPTY, *await _functions(server), *await _keys(server)]
        reader, writer = await _open(server)
        start = cls(commands, reader, writer)
        await start._log_in(server)
        return start

    def keep(self, scripts: Sequence[bytes]) -> None:
        """Begin every run with these scripts loaded, so that nobody is told that one is missing."""
        loads = [(b"SCRIPT", b"LOAD", script) for script in scripts]
        self._data += b"".join(map(_encoded, loads))
        self._replies += len(loads)

    def begin_to_restore(self) -> None:
        """Have everything put back; `restored` has to follow."""
        self._writer.write(self._data)

    async def restored(self) -> None:
        """Wait until everything is put back.

        Raises:
            UnusableServerError: the server refuses a command, or left.
        """
        await self._hear(self._replies)

    async def restore(self) -> None:
        """Put everything back.

        Raises:
            UnusableServerError: the server refuses a command, or left.
        """
        self.begin_to_restore()
        await self.restored()

    async def close(self) -> None:
        """End the connection; the keys stay as they are."""
        self._writer.close()

    async def _log_in(self, server: RedisServer) -> None:
        if server.password:
            words = [word.encode() for word in (server.username, server.password) if word]
            self._writer.write(_encoded((b"AUTH", *words)))
            await self._hear(1)

    async def _hear(self, replies: int) -> None:
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                for _ in range(replies):
                    line = await self._reader.readuntil(b"\r\n")
                    if line[0] not in _WELCOME:
                        raise UnusableServerError(f"Redis refuses to be put back: {line.decode()}")
                    if line.startswith(b"$"):  # a script's SHA-1
                        await self._reader.readuntil(b"\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise UnusableServerError(f"Redis left while it was put back: {error}") from error


async def _open(server: RedisServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if server.socket is not None:
        return await asyncio.open_unix_connection(server.socket)
    return await asyncio.open_connection(server.host, server.port)


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
