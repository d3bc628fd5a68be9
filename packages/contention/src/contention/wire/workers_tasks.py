"""Workers that are async functions, as tasks of the kit's own loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Final

from contention.wire.servers import Links
from contention.wire.source_lines import (
    is_limit,
    line_of_tasks,
    tasks_have_at_hand,
    tasks_try_for_ever,
)
from contention.wire.user_frames import codes_of
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.whose import WORKER
from contention.wire.workers import WorkerStaysError

_PATIENCE_SECONDS: Final = 1.0
_CANCELS: Final = 5
_LOOK_SECONDS: Final = 0.02
_LOOKS: Final = 250


class TaskWorker:
    """An async function, as a task.

    Args:
        name: as in ``w1``.
        body: the function.
        loop: the kit's own, in which the gates are too.
        moved: called when it has ended.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[Links], Awaitable[object]],
        loop: VirtualClockLoop,
        moved: Callable[[], None],
    ) -> None:
        self.name = name
        self._body = body
        self._codes = codes_of(body)
        self._loop = loop
        self._moved = moved
        self._task: asyncio.Task[object] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its task is done."""
        return self._task is not None and self._task.done()

    @property
    def outcome(self) -> object:
        """What it returned, or the exception that ended it; `None` while it runs."""
        if self._task is None or not self._task.done():
            return None
        if self._task.cancelled():
            return asyncio.CancelledError()
        error = self._task.exception()
        return self._task.result() if error is None else error

    @property
    def is_elsewhere(self) -> bool:
        """Whether it waits for a thread that it sent off, as in `asyncio.to_thread`."""
        return self._loop.has_sent_off(self._owns)

    @property
    def cpu_seconds(self) -> float:
        """Nothing: it computes in the loop's own thread, which is then not idle."""
        return 0.0

    def asks_at(self, text: str) -> str:
        """The line at which one of its tasks asks."""
        return line_of_tasks(self._loop.tasks_of(self.name), text, self._codes)

    def has_at_hand(self, text: str) -> bool:
        """Whether a driver in which one of its tasks waits has the text."""
        return tasks_have_at_hand(self._loop.tasks_of(self.name), text)

    def tries_for_ever(self) -> bool:
        """Whether one of its tasks stands in a lock that it tries to get without limit."""
        return tasks_try_for_ever(self._loop.tasks_of(self.name))

    def sleeps(self) -> bool:
        """Whether one of its tasks sleeps."""
        return self._loop.has_sleepers(self._owns)

    def limits(self) -> Mapping[asyncio.TimerHandle, float]:
        """Its timers that are neither sleeps nor drivers' own."""
        timers = self._loop.timers_of(self._owns)
        if not timers or self.sleeps():
            return {}
        tasks = self._loop.tasks_of(self.name)
        return {one: one.when() - self._loop.time() for one in timers if is_limit(one, tasks)}

    def start(self, links: Links) -> None:
        """Make the task; it begins when the loop comes to it."""

        async def play() -> object:
            return await self._body(links)

        token = WORKER.set(self.name)
        try:
            self._task = self._loop.create_task(play(), name=self.name)
        finally:
            WORKER.reset(token)
        self._task.add_done_callback(lambda _: self._moved())

    def wake(self, after_seconds: float = 0.0) -> bool:
        """Let time pass for it until its earliest timer fires; never while a thread works for it.

        No time passes for anybody else.
        """
        handle = None if self.is_elsewhere else self._loop.earliest_timer(self._owns)
        if handle is not None:
            due = handle.when() - self._loop.time()
            self._loop.pass_time(max(0.0, due, after_seconds), self._owns)
        return handle is not None

    async def stop(self) -> None:
        """Cancel the task, again if it goes on regardless, and wait until it has ended."""
        if self._task is None:
            return
        # Its connections are cut: whatever it does about that comes to an end undisturbed.
        await self._loop.ends_within(self._task, 0)
        for _ in range(_CANCELS):
            self._task.cancel()
            if await self._loop.ends_within(self._task, _PATIENCE_SECONDS):
                break
        else:
            raise WorkerStaysError(f"{self.name} was cancelled {_CANCELS} times and goes on")
        if not self._task.cancelled():
            self._task.exception()  # how it ends when it is stopped is of no interest
        await self._threads_end()

    async def _threads_end(self) -> None:
        for _ in range(_LOOKS):
            if not self.is_elsewhere:
                return
            await self._loop.ends_within(self._loop.create_future(), _LOOK_SECONDS)
        raise WorkerStaysError(f"a thread that {self.name} sent off goes on without it")

    def _owns(self, context: Context) -> bool:
        return context.get(WORKER) == self.name
