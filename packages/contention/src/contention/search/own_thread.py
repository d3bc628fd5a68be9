"""Work in an event loop of its own, in a thread of its own, beside the loop of who asked for it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Thread

from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.watchdog import BlockedError, Watchdog

Work = Callable[[VirtualClockLoop], Coroutine[object, object, None]]


class OwnThread:
    """Runs work once; its loop is watched, so that this ends although a worker blocks it.

    Args:
        work: the work; whoever is cancelled meanwhile waits until it has let everything go.
        silence_seconds: for how long a worker may keep the loop from turning without computing.
        forsake: ends what can be ended without the thread, if that never comes back.
    """

    def __init__(self, work: Work, silence_seconds: float, forsake: Callable[[], object]) -> None:
        self._work = work
        self._forsake = forsake
        self._loop = VirtualClockLoop()
        self._watchdog = Watchdog(self._loop, silence_seconds, self._leave_behind)
        self._thread = Thread(target=self._play, name="contention", daemon=True)
        self._is_left_behind = False
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._caller = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    async def run(self) -> str:
        """Do the work.

        Returns:
            Which worker blocked the loop and where, as a sentence; then the work was broken off.
        """
        self._thread.start()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self._watchdog.hurry()
            self._call(self._loop, self._cancel)
            await self._ended.wait()
            raise
        finally:
            if self._ended.is_set() and not self._is_left_behind:
                self._thread.join()  # it has nothing left to do but to leave
        if self._error is not None and not self._watchdog.reason:
            raise self._error
        return self._watchdog.reason

    def _play(self) -> None:
        try:
            with self._watchdog:
                self._complete()
        except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
            self._error = error
        self._call(self._caller, self._ended.set)

    def _complete(self) -> None:
        loop = self._loop
        try:
            self._task = loop.create_task(self._work(loop))
            loop.run_until_complete(self._task)
        finally:
            if self._task is not None and not self._task.done():  # the loop was broken off itself
                self._task.cancel()
                with suppress(asyncio.CancelledError, BlockedError):
                    loop.run_until_complete(self._task)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _leave_behind(self) -> None:
        self._is_left_behind = True
        self._forsake()
        self._call(self._caller, self._ended.set)

    def _call(self, loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # it is closed, and nobody waits
            loop.call_soon_threadsafe(what)
