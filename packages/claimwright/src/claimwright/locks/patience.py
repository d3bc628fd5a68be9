"""How long a calculation waits for a Redis that does not answer, and what it does until then."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

#: What is kept of the patience for giving back what an attempt took, or may have taken.
RESERVED_SLICES: Final = 3
_SLICES: Final = 10
_CHARGE: Final = 4
_LATE_CHARGE: Final = 1
_CANCELS: Final = 3


class Patience:
    """How much longer one calculation may be held up by a silent Redis.

    It is spent in slices, because a silence is only the server's when our own event loop had time
    to notice the answer: a slice that ended late is charged a quarter. While ``settling``, a
    cancellation of the caller is kept for ``raise_cancellation``.
    """

    def __init__(self, patience_ms: int) -> None:
        self._slice_seconds = (
            patience_ms / 1000 / (_SLICES + 1)
        )  # one over for what timers are late
        self._cancelled: asyncio.CancelledError | None = None
        self.settling = False
        self.renew()

    def renew(self) -> None:
        """Begin the whole patience again: Redis has answered."""
        self._left = _SLICES * _CHARGE

    async def outlasts(
        self,
        task: asyncio.Future[Any],
        *,
        heard: Callable[[], bool] = lambda: False,
        reserved_slices: int = 0,
    ) -> bool:
        """Wait for the task; False when only the reserved slices are left of the patience."""
        while not task.done() and self._left > reserved_slices * _CHARGE:
            late = await self._wait_one_slice(task)
            if heard():
                self.renew()
            else:
                self._left -= _LATE_CHARGE if late else _CHARGE
        return task.done()

    async def end(self, task: asyncio.Future[Any]) -> None:
        """Cancel the task until it ends; redis-py may swallow the first one."""
        for _ in range(_CANCELS):
            if task.done():
                return
            task.cancel()
            await self._wait_one_slice(task)

    def raise_cancellation(self) -> None:
        """Raise the cancellation that was kept, if there was one."""
        if self._cancelled is not None:
            raise self._cancelled

    async def _wait_one_slice(self, task: asyncio.Future[Any]) -> bool:
        """Return whether the slice ended late, because our own loop was busy."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._slice_seconds
        while not task.done() and (left_seconds := ends_at - loop.time()) > 0:
            try:
                await _done_or_late(task, left_seconds)
            except asyncio.CancelledError as error:
                if not self.settling:
                    raise
                self._cancelled = error
        return loop.time() - ends_at > self._slice_seconds / 4


async def _done_or_late(task: asyncio.Future[Any], seconds: float) -> None:
    """Wait for a task so long; for one of them, `asyncio.wait` costs as much as a command does."""
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(seconds, wake)
    task.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
