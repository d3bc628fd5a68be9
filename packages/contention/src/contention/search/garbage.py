"""Python's cyclic garbage, collected less often while runs are played.

Every run leaves some hundred objects that refer to one another. Looking for them after each 700 new
ones, as Python does, takes a tenth of a run's time; looking seldom, a twentieth. What the process
had set before is set again when the last search has ended.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

_NEW_OBJECTS: Final = 20_000


class _Thresholds:
    """What the process had set, as long as anybody searches."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._searches = 0
        self._before = gc.get_threshold()

    def begin(self) -> None:
        with self._lock:
            if not self._searches:
                self._before = gc.get_threshold()
                first, *later = self._before
                # Where it is turned off it stays off.
                gc.set_threshold(max(first, _NEW_OBJECTS) if first else 0, *later)
            self._searches += 1

    def end(self) -> None:
        with self._lock:
            self._searches -= 1
            if not self._searches:
                gc.set_threshold(*self._before)


_thresholds = _Thresholds()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Collect garbage less often until the end of this block, and of all others like it."""
    _thresholds.begin()
    try:
        yield
    finally:
        _thresholds.end()
