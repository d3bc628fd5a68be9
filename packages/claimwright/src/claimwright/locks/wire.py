"""One connection for the commands of many leases: what is asked meanwhile goes out together.

redis-py takes a connection out of its pool for every command, waits for the reply and puts it back;
with the server near by, that is most of what a lease costs. Here the commands of all the leases
that are taken and given back at the same time share one write::

    lease A   SET ─┐               ┌─ reply
    lease B   SET ─┼─ one write ───┼─ reply
    lease C   EVAL ┘               └─ reply      D, E … wait for the next write

Nothing is tried again in here and nothing is decided: whoever gets an error, or no for an answer,
goes on with redis-py's own lock.
"""

import asyncio
from typing import Any, Final
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.lock import Lock

Command = tuple[str | bytes | int, ...]
Reply = asyncio.Future[Any]


class Wire:
    """The shared connection of one client, in one event loop."""

    def __init__(self, client: Redis) -> None:
        self.loop = asyncio.get_running_loop()
        self._pool = client.connection_pool
        self._waiting: list[tuple[Command, Reply]] = []
        self._sent: set[Reply] = set()
        self._exchanging: asyncio.Task[None] | None = None
        self._dropping = False

    def ask(self, *command: str | bytes | int) -> Reply:
        """Send a command with the next write; who cancels the reply has given the server up."""
        reply = self.loop.create_future()
        reply.add_done_callback(self._given_up)
        self._waiting.append((command, reply))
        if self._exchanging is None:
            self._exchanging = self.loop.create_task(self._exchange_all())
        return reply

    def _given_up(self, reply: Reply) -> None:
        """Drop the connection: a later command must not wait for a reply that never comes."""
        if reply.cancelled() and reply in self._sent and not self._dropping:
            assert self._exchanging is not None  # noqa: S101 - it is what has sent the command
            self._dropping = self._exchanging.cancel()

    async def _exchange_all(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._exchange([one for one in waiting if not one[1].done()])
        finally:
            self._exchanging = None

    async def _exchange(self, asked: list[tuple[Command, Reply]]) -> None:
        self._sent = {reply for _, reply in asked}
        try:
            await self._send_and_read(asked)
        except (redis_errors.RedisError, OSError) as error:
            _fail(self._sent, error)
        except asyncio.CancelledError:
            _fail(self._sent, redis_errors.ConnectionError("another command was given up"))
            if not self._dropping or self._exchanging is None or self._exchanging.uncancel():
                raise
        finally:
            self._sent, self._dropping = set(), False

    async def _send_and_read(self, asked: list[tuple[Command, Reply]]) -> None:
        """The connection closes itself where a reply is not read to its end."""
        if not asked:
            return
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call] # it has no types
        try:
            packed = connection.pack_commands(command for command, _ in asked)
            await connection.send_packed_command(packed)
            for _, reply in asked:
                await _read(connection, reply)
        finally:
            await self._pool.release(connection)


async def _read(connection: Any, reply: Reply) -> None:  # noqa: ANN401 - of any kind, as pools make them
    try:
        answer = await connection.read_response()
    except redis_errors.ResponseError as error:
        _fail({reply}, error)
    else:
        if not reply.done():
            reply.set_result(answer)


def _fail(replies: set[Reply], error: Exception) -> None:
    for reply in replies:
        if not reply.done():
            reply.set_exception(error)
            # Whoever was cancelled meanwhile looks at nothing any more.
            reply.exception()


_wires: Final[WeakKeyDictionary[Redis, Wire]] = WeakKeyDictionary()


def wire_of(client: Redis, lock: Lock) -> Wire | None:
    """The wire of a client; `None` where client or lock are not redis-py's own, but of a kind."""
    if type(client) is not Redis or type(lock) is not Lock or client.connection is not None:
        return None
    wire = _wires.get(client)
    if wire is None or wire.loop is not asyncio.get_running_loop():
        wire = _wires[client] = Wire(client)
    return wire
