"""One event loop for the life of a process, in a thread of its own.

A loop a task would open its connections anew each time. In a thread, the loop serves prefork, solo
and threads alike, and a caller that runs a loop already; a child made by ``fork`` gets its own.
"""

import asyncio
import atexit
import os
from collections.abc import Awaitable, Callable
from threading import Lock, Thread
from typing import Final, TypeVar

from claimwright.runtime import Runtime, close_current_runtime, current_runtime

Outcome = TypeVar("Outcome")
_CLOSE_SECONDS: Final = 5


class ProcessLoop:
    """An event loop that runs in a thread until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="claimwright-loop", daemon=True)
        self._thread.start()

    def run(self, operation: Callable[[Runtime], Awaitable[Outcome]]) -> Outcome:
        """Run an operation on the default runtime and wait for it; its errors are raised here."""

        async def main() -> Outcome:
            return await operation(current_runtime())

        return asyncio.run_coroutine_threadsafe(main(), self._loop).result()

    def close(self) -> None:
        """Close the connections and end the thread."""
        closing = asyncio.run_coroutine_threadsafe(close_current_runtime(), self._loop)
        try:
            closing.result(_CLOSE_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()


_loops: dict[int, ProcessLoop] = {}
_making = Lock()


def run(operation: Callable[[Runtime], Awaitable[Outcome]]) -> Outcome:
    """Run an operation on this process's loop and runtime, made on first use."""
    with _making:
        if os.getpid() not in _loops:
            _loops[os.getpid()] = ProcessLoop()
        loop = _loops[os.getpid()]
    return loop.run(operation)


def close() -> None:
    """Close this process's loop, if there is one; the next use makes another."""
    with _making:
        loop = _loops.pop(os.getpid(), None)
    if loop is not None:
        loop.close()


def _forget_the_parents() -> None:
    """A thread does not live on in a child; nor does a lock that it held get released."""
    global _making  # noqa: PLW0603 - the one place that may replace it
    _making = Lock()


os.register_at_fork(after_in_child=_forget_the_parents)
atexit.register(close)
