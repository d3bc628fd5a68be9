"""What a program of the corpus works with: one connection and one client, whatever the driver."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import LockNotOwnedError

T = TypeVar("T")
Value = int | str | bool
Turn = Callable[[], Awaitable[None]]


class RefusedError(Exception):
    """PostgreSQL refused a statement, or the connection is gone."""


class UniqueViolationError(RefusedError):
    """SQLSTATE 23505."""


class SerializationError(RefusedError):
    """SQLSTATE 40001."""


class DeadlockError(RefusedError):
    """SQLSTATE 40P01."""


class LockNotAvailableError(RefusedError):
    """SQLSTATE 55P03."""


_REFUSALS = {
    "23505": UniqueViolationError,
    "40001": SerializationError,
    "40P01": DeadlockError,
    "55P03": LockNotAvailableError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave back; the count is that of the rows that were changed or found."""

    rows: Sequence[Sequence[Any]]
    count: int


async def settled(result: Awaitable[T] | T) -> T:
    """What a call of an asynchronous or of a synchronous library gives back."""
    return await result if isinstance(result, Awaitable) else result


@asynccontextmanager
async def entered(
    context: AbstractAsyncContextManager[object] | AbstractContextManager[object],
) -> AsyncIterator[None]:
    """Enter a context of either kind."""
    if isinstance(context, AbstractAsyncContextManager):
        async with context:
            yield
    else:
        with context:
            yield


async def at_once() -> None:
    """Nobody says when."""


class Keys:
    """Redis, by the client of redis-py for threads or for tasks.

    Args:
        client: decodes what it reads.
        turn: is awaited before each command that is not the client's own.
    """

    def __init__(self, client: "redis.Redis | redis.asyncio.Redis", turn: Turn) -> None:
        self._client = client
        self._turn = turn

    async def ask(self, *words: Value) -> Any:  # noqa: ANN401 - what the command returns
        """Send a command as it is."""
        await self._turn()
        return await settled(self._client.execute_command(*words))

    async def get(self, name: str) -> str | None:
        found = await self.ask("GET", name)
        return None if found is None else str(found)

    async def set(self, name: str, value: Value) -> None:
        await self._turn()
        await settled(self._client.set(name, value))

    async def set_if_new(self, name: str, value: Value) -> bool:
        await self._turn()
        return bool(await settled(self._client.set(name, value, nx=True)))

    async def add(self, name: str, amount: int) -> int:
        await self._turn()
        return int(await settled(self._client.incrby(name, amount)))

    async def run(self, script: str, name: str, *values: Value) -> Any:  # noqa: ANN401 - as above
        """Run a Lua script on one key."""
        await self._turn()
        return await settled(self._client.eval(script, 1, name, *map(str, values)))

    @asynccontextmanager
    async def lock(self, name: str, lease_seconds: float | None = None) -> AsyncIterator[None]:
        """The library's own lock; whoever has lost it meanwhile is not told."""
        lock = self._client.lock(name, timeout=lease_seconds, sleep=0.01)
        await self._turn()
        await settled(lock.acquire())
        try:
            yield
        finally:
            await self._turn()
            with suppress(LockNotOwnedError):
                await settled(lock.release())

    async def close(self) -> None:
        if isinstance(self._client, redis.asyncio.Redis):
            await self._client.aclose()
        else:
            self._client.close()


class Machine(ABC):
    """A connection that is opened when it is first needed, and the keys.

    SQL has ``$1``, ``$2`` … for its values; each driver sends them in its own way.

    Attributes:
        keys: Redis.
    """

    def __init__(self, keys: Keys, turn: Turn) -> None:
        self.keys = keys
        self._turn = turn
        self._depth = 0

    async def execute(self, sql: str, *values: Value) -> int:
        """How many rows a statement changed or found."""
        return (await self._ask(sql, values)).count

    async def rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in (await self._ask(sql, values)).rows]

    async def value(self, sql: str, *values: Value) -> Any:  # noqa: ANN401 - a value of any type
        """The first column of the first row; `None` when there is no row."""
        rows = (await self._ask(sql, values)).rows
        return rows[0][0] if rows else None

    @asynccontextmanager
    async def transaction(self, isolation: str = "") -> AsyncIterator[None]:
        """A transaction, or a savepoint within one.

        Args:
            isolation: as in ``REPEATABLE READ``; the server's own when left out.
        """
        with self._refusals():
            async with self._in_transaction(isolation):
                self._depth += 1
                try:
                    yield
                    if self._depth == 1:
                        await self._turn()
                finally:
                    self._depth -= 1

    async def close(self) -> None:
        await self.keys.close()
        await self._close()

    async def _ask(self, sql: str, values: Sequence[Value]) -> Answer:
        await self._turn()
        with self._refusals():
            return await self._run(sql, values)

    @abstractmethod
    async def _run(self, sql: str, values: Sequence[Value]) -> Answer: ...

    @abstractmethod
    def _in_transaction(self, isolation: str) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    def _refusals(self) -> AbstractContextManager[None]: ...

    @abstractmethod
    async def _close(self) -> None: ...


def refusal(sqlstate: str | None, text: str) -> RefusedError:
    """An error of PostgreSQL as an error of the corpus."""
    return _REFUSALS.get(sqlstate or "", RefusedError)(text)
