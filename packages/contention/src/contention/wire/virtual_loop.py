"""An event loop that says when it has nothing left to do, and whose clock can be moved.

Workers that are async functions run in it, beside the gates. Whenever neither a callback is ready
nor a socket, the loop is *idle* and asks its observer, who lets a request go on, moves the clock to
the next timer, or waits for the servers. So a worker that sleeps costs no time, and no decision
is ever made while a worker still has something to do.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final

#: What an observer answers when it has made something ready and nobody should wait.
GO_ON: Final = 0.0

Observer = Callable[[], float]
"""Asked when the loop is idle; says for how many seconds to wait for sockets, `GO_ON` for none."""


class _IdleSelector(selectors.BaseSelector):
    """A selector that asks an observer before it would wait."""

    def __init__(self, inner: selectors.BaseSelector, observe: Observer) -> None:
        self._inner = inner
        self._observe = observe

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._inner.select(0)
        if ready or timeout == 0:
            return ready
        return self._inner.select(self._observe())

    def close(self) -> None:
        self._inner.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map() or {}


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop with an observer of its idle moments and a clock that moves when told to.

    Without an observer it waits as any loop does, for sockets alone: its timers are due only when
    the clock is moved.
    """

    def __init__(self) -> None:
        self.observer: Observer = lambda: 0.05
        self._now_seconds = 0.0
        super().__init__(_IdleSelector(selectors.DefaultSelector(), self._observe))

    def _observe(self) -> float:
        return self.observer()

    def time(self) -> float:
        """The virtual clock, in seconds since the loop was made."""
        return self._now_seconds

    def next_timer_at(self) -> float | None:
        """When the next timer is due; `None` without one."""
        due = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        return min(due, default=None)

    def move_to(self, at_seconds: float) -> None:
        """Move the clock forwards; timers that are due by then run next."""
        self._now_seconds = max(self._now_seconds, at_seconds)

    def earliest_timer(self, belongs: Callable[[Context], bool]) -> asyncio.TimerHandle | None:
        """The next timer among those whose context satisfies a condition."""
        timers = [
            handle
            for handle in self._scheduled  # type: ignore[attr-defined]
            if not handle.cancelled() and belongs(handle._context)  # noqa: SLF001 - no public name
        ]
        return min(timers, key=lambda handle: handle.when(), default=None)

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """Run a timer's callback next, before it is due; the clock stays."""
        callback, arguments, context = handle._callback, handle._args, handle._context  # type: ignore[attr-defined]  # noqa: SLF001 - no public name
        handle.cancel()
        self.call_soon(callback, *arguments, context=context)
