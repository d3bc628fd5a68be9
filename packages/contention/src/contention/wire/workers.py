"""The workers of a run: each an ordinary function or program with addresses of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Final, Protocol

from contention.wire.servers import Links
from contention.wire.virtual_loop import VirtualClockLoop

WORKER: Final[ContextVar[str]] = ContextVar("contention_worker", default="")
"""Which worker runs here: each has a context of its own."""

Body = Callable[[Links], Awaitable[object]]


class Worker(Protocol):
    """Something that runs behind gates, from `start` until it has ended or is stopped."""

    name: str

    @property
    def has_ended(self) -> bool:
        """Whether it has returned, raised or been stopped."""

    @property
    def outcome(self) -> object:
        """What it returned, or the exception that ended it; `None` while it runs."""

    def start(self, links: Links) -> None:
        """Let it begin, with links of its own."""

    def wake(self) -> bool:
        """Let its earliest timer fire now, if its time is the kit's to move; whether it did."""

    async def stop(self) -> None:
        """End it; its gates are closed already. It has ended when this returns."""


class TaskWorker:
    """An async function, as a task of the kit's own loop."""

    def __init__(self, name: str, body: Body, loop: VirtualClockLoop) -> None:
        self.name = name
        self._body = body
        self._loop = loop
        self._task: asyncio.Task[object] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its task is done."""
        return self._task is not None and self._task.done()

    @property
    def outcome(self) -> object:
        """What it returned, or the exception that ended it; `None` while it runs."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception() or self._task.result()

    def start(self, links: Links) -> None:
        """Make the task; it begins when the loop comes to it."""

        async def play() -> object:
            return await self._body(links)

        token = WORKER.set(self.name)
        try:
            self._task = self._loop.create_task(play(), name=self.name)
        finally:
            WORKER.reset(token)

    def wake(self) -> bool:
        """Let its earliest timer fire now; the clock stays."""
        handle = self._loop.earliest_timer(self._owns)
        if handle is not None:
            self._loop.fire(handle)
        return handle is not None

    async def stop(self) -> None:
        """Cancel the task, and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _owns(self, context: Context) -> bool:
        return context.get(WORKER) == self.name
