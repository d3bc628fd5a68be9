"""A gate that holds nothing, for those who look at the end of a run.

An invariant opens a connection in every run, and a backend of its own would cost PostgreSQL more
than all else that it does. Behind this gate one backend serves after another's end. The gate has a
thread of its own: whoever looks may block the thread in which it looks.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from contention.wire.backends import Backends
from contention.wire.events import Failure
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.quiet import StageError
from contention.wire.servers import PostgresServer

T = TypeVar("T")

_SOCKET: Final = ".s.PGSQL.5432"
_WHOSE: Final = "the look at the end"


class Usher:
    """A keeper that lets everything pass, and remembers what cannot be understood."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def opened(self, lane: Lane) -> None:
        """Whoever comes may."""

    def arrived(self, lane: Lane, request: Request) -> bool:  # noqa: ARG002 - a keeper's signature
        """Everything passes."""
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """Nothing to note."""

    def failed(self, lane: Lane, failure: Failure) -> None:  # noqa: ARG002 - a keeper's signature
        """Nobody can say what the one who looks would have seen."""
        self.failures.append(failure)

    def closed(self, lane: Lane) -> None:
        """Whoever goes may."""


class OpenGate:
    """A gate to one PostgreSQL, in a thread of its own, until `close`; made by `OpenGate.to`.

    Attributes:
        server: the server as it is reached through the gate.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server.behind(folder, port=5432)
        self._address = Address(path=str(folder / _SOCKET))
        self._usher = Usher()
        self._backends = Backends()
        self._gate = Gate(_WHOSE, server.address, PostgresFraming, self._usher, self._backends)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="contention-gate", daemon=True)

    @classmethod
    async def to(cls, server: PostgresServer, folder: Path) -> "OpenGate":
        """A gate that listens in a folder of its own, whose path is short."""
        gate = cls(server, folder)
        gate._thread.start()
        try:
            await gate._done(gate._gate.listen(gate._address))
        except BaseException:
            gate.close()
            raise
        return gate

    @property
    def process_ids(self) -> list[int]:
        """Of the backends that are idle; after `empty` no others are left."""
        return self._backends.process_ids

    async def empty(self) -> None:
        """Cut off whoever still looks, and wait until nothing of any session is left.

        Raises:
            StageError: what passed could not be understood.
        """
        await self._done(self._gate.empty())
        failures, self._usher.failures = self._usher.failures, []
        if failures:
            raise StageError(f"{_WHOSE} of the run: {failures[0]}")

    def forget(self) -> None:
        """End the idle backends; the next to look gets a new one."""
        asyncio.run_coroutine_threadsafe(self._forget(), self._loop).result()

    def close(self) -> None:
        """Cut everything off, and end the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _forget(self) -> None:
        self._backends.close()

    async def _end(self) -> None:
        await self._gate.close()
        self._backends.close()
        await asyncio.sleep(0)  # the loop closes the sockets that were given up
