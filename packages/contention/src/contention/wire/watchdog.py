"""Ends a run whose async worker blocks the loop that would have to answer it.

Async workers share the kit's loop with their own gates. One that asks through a driver that blocks,
sleeps by `time.sleep` or waits for another thread stops that loop, so that nobody can answer it,
let it time out or even notice. So a thread of its own watches whether the loop still turns.

What blocks is outside of Python, where no exception arrives and, in a thread that is not the main
one, no signal either. So the gates' sockets are cut, which brings a driver back; whoever goes on
blocking then has an exception raised in the loop's thread for the next moment in Python. Who waits
for something else is not to be brought back at all: after some patience the loop's thread is left
behind where it stands, with every connection cut. It does not keep the interpreter from ending.

Who computes is not blocked, however long one step takes; see `Silence`. Setups and invariants have
links that are served elsewhere and may block as long as they like.
"""

import asyncio
import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread, get_ident
from types import FrameType, TracebackType
from typing import Final, Self

from contention.wire.silence import Silence
from contention.wire.user_frames import outwards, place_in
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.whose import WORKER

_LOOK_SECONDS: Final = 0.125
_UNREAD_SECONDS: Final = 1.0
"""Before the time limits of drivers, which have to be told from a server that does not answer."""
_PATIENCE_SECONDS: Final = 1.0
_HURRY_SECONDS: Final = 0.25
_MOST_BREAKS: Final = 3
_ADVICE: Final = (
    "the loop that it blocks serves its links too, so it must wait by await alone: give it as an "
    "ordinary function, which gets a thread of its own, or use its driver's async variant"
)


class BlockedError(BaseException):
    """Raised in the thread of a loop that did not turn, wherever that stands."""


class Watchdog:
    """Watches a loop from another thread, within its ``with`` block; enter it in the loop's thread.

    Args:
        loop: in which workers run.
        silence_seconds: for how long one of them may keep it from turning without computing.
        left_behind: called in the watchdog's own thread when the loop's cannot be brought back.

    Attributes:
        reason: who blocked the loop and where, as a sentence; empty while nobody did.
    """

    def __init__(
        self, loop: VirtualClockLoop, silence_seconds: float, left_behind: Callable[[], object]
    ) -> None:
        self.reason = ""
        self._loop = loop
        self._silence_seconds = silence_seconds
        self._left_behind = left_behind
        self._watches_everybody = False
        self._thread_id = 0
        self._thread = Thread(target=self._watch, name="contention-watchdog", daemon=True)
        self._lock = Lock()
        self._is_over = Event()
        self._turns = 0
        self._breaks = 0
        # A process that was stopped for a while has not been silent: only looks count.
        self._looked_seconds = 0.0
        self._turned_at = 0.0
        self._silence = Silence(silence_seconds, self._looked)
        soon = min(_UNREAD_SECONDS, silence_seconds)
        self._unread = Silence(soon, self._looked, most_of_limit=math.inf)

    def __enter__(self) -> Self:
        self._thread_id = get_ident()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:  # after this nothing is raised in the loop's thread any more
            self._is_over.set()
        self._thread.join()

    def hurry(self) -> None:
        """From now on nobody may block the loop for more than a moment, whoever it is."""
        self._watches_everybody = True
        self._silence_seconds = min(_HURRY_SECONDS, self._silence_seconds)
        self._silence = Silence(self._silence_seconds, self._looked)

    def _looked(self) -> float:
        return self._looked_seconds

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with self._lock:
                if not self._is_over.is_set() and self._is_blocked():
                    self._act()

    def _is_blocked(self) -> bool:
        self._looked_seconds += _LOOK_SECONDS
        if self._loop.turns != self._turns:
            self._turns, self._turned_at = self._loop.turns, self._looked_seconds
            self._silence.broken()
            self._unread.broken()
            return False
        computed = {"loop": _cpu_seconds(self._thread_id)}
        # Both have to look: each remembers what had been computed when it looked last.
        is_over, is_soon = self._silence.is_over(computed), self._unread.is_over(computed)
        return is_over or (is_soon and self._waits_for_its_own_gate())

    def _waits_for_its_own_gate(self) -> bool:
        """Whether who stops the loop has asked for something that the loop would have to read."""
        worker = self._worker(self._frames())
        return bool(worker) and self._loop.has_unread(worker)

    def _frames(self) -> list[FrameType]:
        return list(outwards(sys._current_frames().get(self._thread_id)))  # noqa: SLF001 - documented so

    def _act(self) -> None:
        frames = self._frames()
        worker = self._worker(frames)
        self._silence.broken()
        if not (worker or self._watches_everybody):
            return
        self._breaks += 1
        if self._breaks == 1:
            self.reason = self._told(worker, place_in(frames))
            self._loop.break_off(self.reason)
            self._silence = Silence(0.0, self._looked)  # a driver has no reason to stay
        elif self._breaks <= _MOST_BREAKS:
            self._loop.cut(only_named=True)
            _raise_in(self._thread_id)
            self._silence = Silence(min(_PATIENCE_SECONDS, self._silence_seconds), self._looked)
        else:
            self._loop.cut(only_named=False)
            self._is_over.set()
            self._left_behind()

    def _told(self, worker: str, place: str) -> str:
        seconds = self._looked_seconds - self._turned_at
        where = f" at {place}" if place else ""
        return f"{worker} has neither awaited nor ended for {seconds:.1f} s{where}: {_ADVICE}"

    def _worker(self, frames: Iterable[FrameType]) -> str:
        """Whose code the loop runs; empty when it is no worker's."""
        task = asyncio.current_task(self._loop)
        if task is not None:
            return self._loop.worker_of(task)
        handles = [
            frame.f_locals["self"]
            for frame in frames
            if frame.f_code is asyncio.Handle._run.__code__  # noqa: SLF001 - no public name
        ]
        return str(handles[0]._context.get(WORKER, "")) if handles else ""  # noqa: SLF001 - no public name


def _raise_in(thread_id: int) -> None:
    """Raise the exception in a thread, as soon as it comes back to Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), ctypes.py_object(BlockedError)
    )


def _cpu_seconds(thread_id: int) -> float:
    """What a thread has computed; 0 where the system does not say."""
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread_id))
    except (AttributeError, OSError):
        return 0.0
