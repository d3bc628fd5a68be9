"""Workers that are ordinary functions, each in a thread of its own."""

import ctypes
import inspect
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Final

from contention.wire.servers import Links
from contention.wire.source_lines import line_of_thread, thread_has_at_hand, thread_tries_for_ever
from contention.wire.user_frames import codes_of
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.whose import WORKER
from contention.wire.workers import WorkerStaysError

if TYPE_CHECKING:
    from asyncio import TimerHandle

_GRACE_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 5.0


class _Stopped(BaseException):
    """Raised in a worker's thread whose run is over."""


class ThreadWorker:
    """A function, in a thread.

    Its thread cannot be killed: when it is stopped, its connections are cut already, and an
    exception is raised in it wherever it is. It does not keep the interpreter from ending.

    Args:
        name: as in ``w1``.
        body: the function.
        loop: the kit's own, in which the gates are.
        moved: called when it has ended.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[Links], object],
        loop: VirtualClockLoop,
        moved: Callable[[], None],
    ) -> None:
        self.name = name
        self._body = body
        self._codes = codes_of(body)
        self._loop = loop
        self._moved = moved
        self._thread: Thread | None = None
        self._ended = loop.create_future()
        self._outcome: object = None

    @property
    def has_ended(self) -> bool:
        """Whether its function has returned or raised."""
        return self._ended.done()

    @property
    def outcome(self) -> object:
        """What it returned, or the exception that ended it; `None` while it runs."""
        return self._outcome if self._ended.done() else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs."""
        return not self._ended.done()

    @property
    def thread_id(self) -> int:
        """As in `sys._current_frames`; 0 before it begins."""
        return (self._thread.ident or 0) if self._thread else 0

    @property
    def cpu_seconds(self) -> float:
        """What its thread has computed; 0 where the system does not say."""
        if self._thread is None or not self._thread.is_alive():
            return 0.0
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self.thread_id))
        except (AttributeError, OSError):
            return 0.0

    def asks_at(self, _text: str) -> str:
        """The line at which its thread asks."""
        return line_of_thread(self.thread_id, self._codes)

    def has_at_hand(self, text: str) -> bool:
        """Whether a driver in which its thread stands has the text."""
        return thread_has_at_hand(self.thread_id, text)

    def tries_for_ever(self) -> bool:
        """Whether its thread stands in a lock that it tries to get without limit."""
        return thread_tries_for_ever(self.thread_id)

    def sleeps(self) -> bool:
        """Never: its time is its own."""
        return False

    def limits(self) -> "Mapping[TimerHandle, float]":
        """None: its time is its own."""
        return {}

    def start(self, links: Links) -> None:
        """Begin the thread."""
        context = copy_context()
        context.run(WORKER.set, self.name)
        self._thread = Thread(
            target=context.run,
            args=(self._play, links),
            name=f"contention-{self.name}",
            daemon=True,
        )
        self._thread.start()

    def wake(self, after_seconds: float = 0.0) -> bool:  # noqa: ARG002 - a worker's signature
        """Nothing: its sleeps are real."""
        return False

    async def stop(self) -> None:
        """Interrupt the thread, and wait until it is gone."""
        if self._thread is None:
            return
        if not await self._loop.ends_within(self._ended, _GRACE_SECONDS):
            _raise_in(self.thread_id, _Stopped)
            if not await self._loop.ends_within(self._ended, _PATIENCE_SECONDS):
                raise WorkerStaysError(
                    f"{self.name} goes on in its thread although its connections were cut"
                )
        # It has nothing left to do but to leave.
        self._thread.join()

    def _play(self, links: Links) -> None:
        try:
            outcome = self._body(links)
            if inspect.isawaitable(outcome):
                outcome = _not_awaited(outcome)
        except BaseException as error:  # noqa: BLE001 - whatever ended it is its outcome
            outcome = error
        # The loop is gone if the thread outlived its run.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, outcome)

    def _end(self, outcome: object) -> None:
        if not self._ended.done():
            self._outcome = outcome
            self._ended.set_result(None)
            self._moved()


def _not_awaited(outcome: object) -> TypeError:
    if inspect.iscoroutine(outcome):
        outcome.close()
    return TypeError(
        "the worker is no async function but returned something to await: "
        "give the async function itself, or functools.partial of it"
    )


def _raise_in(thread_id: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as soon as it comes back to Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(kind))
