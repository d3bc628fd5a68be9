"""An event loop whose time passes by itself whenever nothing is ready: durations are exact."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Outcome = TypeVar("Outcome")


class _Selector(selectors.DefaultSelector):
    """Does not wait: the time it was to wait has passed."""

    passed_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None:
            self.passed_seconds += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        return self._own.passed_seconds


def in_its_own_time(work: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Run a coroutine on such a loop, in a thread, so that the loop of the tests is left alone."""

    async def main() -> Outcome:
        return await work()

    def run() -> Outcome:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            return runner.run(main())

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
