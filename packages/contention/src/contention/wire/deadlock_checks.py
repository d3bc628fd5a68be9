"""Whether the server has looked for a deadlock since a backend began to wait.

It looks once, when the wait is as old as ``deadlock_timeout``: a timer wakes the backend, who looks
and goes to sleep again. Where its state can be seen, how often it has gone to sleep tells of that.
"""

import os
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from contention.wire.blocking import Wait

_MARGIN_MS: Final = 30.0
_CLOCK_MS: Final = 2.0
_MOST_BYTES: Final = 65_536
_STATE: Final = b"\nState:\t"
_SLEEPS: Final = b"\nvoluntary_ctxt_switches:\t"


@dataclass(frozen=True, slots=True)
class Seen:
    """How a backend was seen.

    Attributes:
        at: in seconds of the monotonic clock.
        is_asleep: whether it slept.
        sleeps: how often it had gone to sleep by then.
    """

    at: float
    is_asleep: bool
    sleeps: int


class DeadlockChecks:
    """The looks of one server for deadlocks, as far as they are needed."""

    def __init__(self) -> None:
        self._asleep: dict[int, Seen] = {}
        self._again: dict[int, Seen] = {}
        self._made: set[tuple[int, float]] = set()

    def watch(self, process_ids: Collection[int]) -> bool:
        """See how these backends are; whether each has been woken since it was first seen asleep.

        Then it is time to ask the server; whether it has looked is for `are_made` to say.
        """
        for number in process_ids:
            if number not in self._again:
                self._see(number)
        return all(number in self._again for number in process_ids)

    def are_made(self, waits: Iterable[Wait], told_at: float) -> bool:
        """Whether the server has looked since each of these waits began, and found nothing.

        Args:
            waits: as the server told them.
            told_at: when it had told them, in seconds of the monotonic clock.
        """
        now = {(wait.process_id, wait.began_at): wait for wait in waits}
        self._made &= now.keys()
        self._made |= {key for key, wait in now.items() if self._is_made(wait, told_at)}
        return len(self._made) == len(now)

    def _see(self, process_id: int) -> None:
        seen = look_at(process_id)
        if seen is None or not seen.is_asleep:
            return
        first = self._asleep.setdefault(process_id, seen)
        if seen.sleeps > first.sleeps:
            self._again[process_id] = seen

    def _is_made(self, wait: Wait, told_at: float) -> bool:
        if wait.waited_ms < wait.deadlock_timeout_ms:
            self._forget(wait.process_id)
            return False
        return self._was_woken_in(wait, told_at) or _must_have_looked(wait)

    def _was_woken_in(self, wait: Wait, told_at: float) -> bool:
        """Whether it slept, was woken by the timer, and slept again, all within this wait."""
        first, again = (seen.get(wait.process_id) for seen in (self._asleep, self._again))
        self._forget(wait.process_id)
        began_at = told_at - wait.waited_ms / 1000
        if first is None or again is None or first.at < began_at:
            return False
        return again.at >= began_at + wait.deadlock_timeout_ms / 1000

    def _forget(self, process_id: int) -> None:
        self._asleep.pop(process_id, None)
        self._again.pop(process_id, None)


def _must_have_looked(wait: Wait) -> bool:
    """Whether the timer has run out, with a margin, and nothing is left to do.

    The margin is small where it can be seen that the backend sleeps.
    """
    if wait.waited_ms < wait.deadlock_timeout_ms + _CLOCK_MS:
        return False
    seen = look_at(wait.process_id)
    if seen is None:
        return wait.waited_ms >= wait.deadlock_timeout_ms + _MARGIN_MS
    return seen.is_asleep


def look_at(process_id: int) -> Seen | None:
    """A backend's state; `None` where it cannot be seen, as on another machine."""
    if not sys.platform.startswith("linux"):
        return None
    own = f"/proc/{process_id}"
    try:
        if not _read(f"{own}/cmdline").startswith(b"postgres:"):
            return None
        status = _read(f"{own}/status")
        state, sleeps = (status.partition(name)[2].split(None, 1)[0] for name in (_STATE, _SLEEPS))
    except (OSError, IndexError):
        return None
    return Seen(time.monotonic(), state == b"S", int(sleeps))


def _read(path: str) -> bytes:
    """A small file of the system's; many are read while nothing else can be done."""
    number = os.open(path, os.O_RDONLY)
    try:
        return os.read(number, _MOST_BYTES)
    finally:
        os.close(number)
