"""An event loop that says when it has nothing left to do, and whose clock can be moved.

Workers that are async functions run in it, beside the gates. Whenever neither a callback is ready
nor a socket, the loop is *idle* and asks its observer, who lets a request go on, moves the clock to
the next timer, or waits for the servers. So a worker that sleeps costs no time, and no decision
is ever made while a worker still has something to do.
"""

import asyncio
import heapq
import math
import os
import select
import selectors
import socket
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from contention.wire.source_lines import Birth, birth_of
from contention.wire.whose import WORKER

#: What an observer answers when it has made something ready and nobody should wait.
GO_ON: Final = 0.0

_LONGEST_WAIT_SECONDS: Final = 0.05
_RESOLUTION_SECONDS: Final = 1e-6
_NEVER_IDLE_SECONDS: Final = 0.25
_MILLISECONDS: Final = 0.01
_MOST_SELECTED: Final = 1024
"""The system's ``FD_SETSIZE``."""

_WAKES: Final = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]  # noqa: SLF001 - what asyncio.sleep sets its timer to call

Observer = Callable[[], float]
"""Asked when the loop is idle; says for how many seconds to wait for sockets, `GO_ON` for none."""


class _IdleSelector(selectors.BaseSelector):
    """A selector that asks an observer before it would wait."""

    def __init__(
        self, inner: selectors.BaseSelector, observe: Observer, turns: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._observe = observe
        self._turns = turns
        own = getattr(inner, "fileno", lambda: _MOST_SELECTED)()
        self._own: int | None = own if own < _MOST_SELECTED else None
        self.asked = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.asked += 1
        ready = self._inner.select(0)
        if ready or timeout == 0:
            self._turns()
            return ready
        return self._wait(self._observe())

    def _wait(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for sockets, and not for whole milliseconds, as a poll would."""
        if self._own is not None and GO_ON < seconds < _MILLISECONDS:
            select.select([self._own], [], [], seconds)
            seconds = GO_ON
        return self._inner.select(seconds)

    def close(self) -> None:
        self._inner.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map() or {}


@dataclass(slots=True, eq=False)
class _Errand:
    """What a thread does for a task, who may stop waiting before the thread is done."""

    context: Context
    runs: bool = False
    is_awaited: bool = True


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop with an observer of its idle moments and a clock that moves when told to.

    Without an observer its clock runs as any other does, as for a test's own set-up.

    Attributes:
        blocked_reason: who kept it from turning and where, as a sentence; empty while nobody did.
    """

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.blocked_reason = ""
        self._now_seconds = 0.0
        self._seen_at = time.monotonic()
        self._limits: list[tuple[float, asyncio.Future[None]]] = []
        self._next_limit_at = math.inf
        self._errands: set[_Errand] = set()
        self._births: WeakKeyDictionary[asyncio.Task[Any], Birth] = WeakKeyDictionary()
        self._sockets = _IdleSelector(selectors.DefaultSelector(), self._observe, self._turn)
        super().__init__(self._sockets)
        # A timer is due when the clock says its time, however large that is by then.
        self._clock_resolution = _RESOLUTION_SECONDS
        self.set_task_factory(self._bear)

    def _observe(self) -> float:
        now = time.monotonic()
        passed, self._seen_at = now - self._seen_at, now
        if self._end_limits(now):
            return GO_ON
        wait = self._run_clock(passed) if self.observer is None else self.observer()
        return min(wait, max(GO_ON, self._next_limit_at - now))

    def _turn(self) -> None:
        """A limit ends in an idle moment; where there is none, a moment later."""
        self._end_limits(time.monotonic() - _NEVER_IDLE_SECONDS)

    def _run_clock(self, passed_seconds: float) -> float:
        self._now_seconds += passed_seconds
        due = self.next_timer_at()
        wait = _LONGEST_WAIT_SECONDS if due is None else due - self._now_seconds
        return min(_LONGEST_WAIT_SECONDS, max(GO_ON, wait))

    def _end_limits(self, now: float) -> bool:
        if now < self._next_limit_at:
            return False
        over = [future for at, future in self._limits if at <= now and not future.done()]
        self._limit_to([one for one in self._limits if one[0] > now])
        for future in over:
            future.set_result(None)
        return bool(over)

    def _limit_to(self, limits: list[tuple[float, asyncio.Future[None]]]) -> None:
        self._limits = limits
        self._next_limit_at = min((at for at, _ in limits), default=math.inf)

    async def ends_within(self, future: "asyncio.Future[Any]", real_seconds: float) -> bool:
        """Wait for a future, but not longer than this on the wall; whether it is done.

        The clock of this loop has no part in it.
        """
        limit: asyncio.Future[None] = self.create_future()
        self._limit_to([*self._limits, (time.monotonic() + real_seconds, limit)])
        try:
            await asyncio.wait({future, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
            self._limit_to([one for one in self._limits if one[1] is not limit])
        return future.done()

    def time(self) -> float:
        """The virtual clock, in seconds since the loop was made."""
        return self._now_seconds

    def next_timer_at(self) -> float | None:
        """When the next timer is due; `None` without one."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if scheduled and not scheduled[0].cancelled():  # it is a heap
            return float(scheduled[0].when())
        return min((one.when() for one in scheduled if not one.cancelled()), default=None)

    def move_to(self, at_seconds: float) -> None:
        """Move the clock forwards; timers that are due by then run next."""
        self._now_seconds = max(self._now_seconds, at_seconds)

    def earliest_timer(self, belongs: Callable[[Context], bool]) -> asyncio.TimerHandle | None:
        """The next timer among those whose context satisfies a condition."""
        return min(self.timers_of(belongs), key=lambda handle: handle.when(), default=None)

    def has_sleepers(self, belongs: Callable[[Context], bool]) -> bool:
        """Whether a task sleeps whose context satisfies a condition."""
        # A timer that was cancelled calls nothing.
        return any(
            handle._callback is _WAKES and belongs(handle._context)  # noqa: SLF001 - no public names
            for handle in self._scheduled  # type: ignore[attr-defined]
        )

    def looks_elsewhere(self, worker: str) -> bool:
        """Whether a worker waits for a socket or pipe that leads to none of its gates."""
        return any(
            not _leads_to(key.fd, worker)
            for key in self._sockets.get_map().values()
            if any(
                handle is not None and handle._context.get(WORKER) == worker  # noqa: SLF001 - no public name
                for handle in key.data
            )
        )

    def timers_of(self, belongs: Callable[[Context], bool]) -> list[asyncio.TimerHandle]:
        """The timers whose context satisfies a condition."""
        return [
            handle
            for handle in self._scheduled  # type: ignore[attr-defined]
            if not handle.cancelled() and belongs(handle._context)  # noqa: SLF001 - no public name
        ]

    def tasks_of(self, worker: str) -> list[tuple[asyncio.Task[Any], Birth]]:
        """The tasks of a worker that have not ended, and how each began."""
        return [
            (task, birth)
            for task, birth in self._births.items()
            if birth.worker == worker and not task.done()
        ]

    def worker_of(self, task: asyncio.Task[Any]) -> str:
        """Whose a task is; empty when it is no worker's."""
        birth = self._births.get(task)
        return birth.worker if birth else ""

    @property
    def turns(self) -> int:
        """How often it has looked for what is ready; it does many times a second, even if idle."""
        return self._sockets.asked

    def break_off(self, reason: str) -> None:
        """Somebody blocks it: cut its gates, from any thread; what comes of that is not told."""
        self.blocked_reason = reason
        self.set_exception_handler(lambda *_: None)
        self.cut(only_named=True)

    def cut(self, *, only_named: bool) -> None:
        """Cut its connections, from any thread, while it does not turn.

        Args:
            only_named: only what belongs to a unix socket that is listened to here, as a gate's.
        """
        with ExitStack() as stack:
            # The first cut may bring back whoever blocks: by then all are in other hands, too.
            for one in [stack.enter_context(one) for one in self._copies()]:
                if _is_named(one) or not (only_named or _is_its_own(one)):
                    _cut(one)

    def has_unread(self, worker: str) -> bool:
        """Whether a worker's gates have something to read, asked by any thread while it stands."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(one) for one in self._copies()]
            own = [one for one in sockets if _is_named(one) and _folder_of(one) == worker]
            return bool(select.select(own, [], [], 0)[0]) if own else False

    def _copies(self) -> list[socket.socket]:
        """What it looks at, for a thread that does not own it; none if it turns meanwhile."""
        copies = []
        with suppress(OSError, RuntimeError):
            for key in list(self._sockets.get_map().values()):
                if stat.S_ISSOCK(os.fstat(key.fd).st_mode):
                    copies.append(socket.socket(fileno=os.dup(key.fd)))  # noqa: PERF401 - those so far
        return copies

    def _bear(self, _loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:  # noqa: ANN401 - a task factory's signature
        context = options.get("context")
        worker = WORKER.get() if context is None else context.get(WORKER, "")
        task = asyncio.Task(work, loop=self, **options)
        if worker:
            self._births[task] = birth_of(worker)
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]  # noqa: ANN401 - as the base class
        """As every loop does; and remember for whom, until the thread is done."""
        errand = _Errand(copy_context())

        def run() -> object:
            errand.runs = True
            try:
                return func(*args)
            finally:
                # The loop is gone if the thread outlived it.
                with suppress(RuntimeError):
                    self.call_soon_threadsafe(self._ran, errand)

        future = super().run_in_executor(executor, run)
        self._errands.add(errand)
        future.add_done_callback(lambda _: self._came_back(errand))
        return future

    def has_sent_off(self, belongs: Callable[[Context], bool]) -> bool:
        """Whether a thread works for somebody whose context satisfies a condition."""
        return any(belongs(errand.context) for errand in self._errands)

    def _ran(self, errand: "_Errand") -> None:
        errand.runs = False
        if not errand.is_awaited:
            self._errands.discard(errand)

    def _came_back(self, errand: "_Errand") -> None:
        errand.is_awaited = False
        if not errand.runs:
            self._errands.discard(errand)

    def pass_time(
        self, seconds: float, belongs: Callable[[Context], bool] = lambda _context: False
    ) -> None:
        """Move the clock forwards for those whose context satisfies a condition.

        The timers of all others are put off by as much: they see that time has passed, and none of
        their timers is due sooner.
        """
        self._now_seconds += seconds
        for handle in self._scheduled:  # type: ignore[attr-defined]
            if not belongs(handle._context):  # noqa: SLF001 - no public name
                handle._when += seconds  # noqa: SLF001 - no public name
        heapq.heapify(self._scheduled)  # type: ignore[attr-defined]


def _is_named(one: socket.socket) -> bool:
    return one.family == socket.AF_UNIX and bool(one.getsockname())


def _folder_of(one: socket.socket) -> str:
    return Path(one.getsockname()).parent.name


def _leads_to(descriptor: int, worker: str) -> bool:
    """Whether what is read there comes from one of a worker's gates."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as one, suppress(OSError):
        peer = one.getpeername() if one.family == socket.AF_UNIX else ""
        return isinstance(peer, str) and Path(peer).parent.name == worker
    return False


def _is_its_own(one: socket.socket) -> bool:
    """Whether it is one of the pair by which other threads wake the loop."""
    try:
        return one.family == socket.AF_UNIX and not one.getpeername()
    except OSError:  # nobody is at the other end
        return False


def _cut(one: socket.socket) -> None:
    """Nobody is to wait for anything through this socket, nor to be accepted."""
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        with suppress(OSError):  # it was cut already
            one.shutdown(socket.SHUT_RDWR)
        return
    # Shut down, it would be ready for ever without anybody to accept: its loop would never be idle.
    if one.family == socket.AF_UNIX:
        Path(one.getsockname()).unlink(missing_ok=True)
    with suppress(OSError):  # nobody is left who waits
        while True:
            one.accept()[0].close()
