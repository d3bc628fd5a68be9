"""When nothing has come from a worker for so long that nothing will."""

import time
from collections.abc import Callable, Mapping
from typing import Final

_LOOK_SECONDS: Final = 0.1
_IDLE_SHARE: Final = 0.02
_MOST_OF_LIMIT: Final = 10.0


class Silence:
    """Measures how long those who should move have neither moved nor computed.

    Time in which one of them computes is no silence, as on a machine that has much else to do; but
    who computes for ten times the limit and never asks for anything is silent too.

    Args:
        limit_seconds: how long silence lasts before it is over.
        now: a clock that only goes forwards, in seconds.
        most_of_limit: so many times the limit somebody may compute.
    """

    def __init__(
        self,
        limit_seconds: float,
        now: Callable[[], float] = time.monotonic,
        *,
        most_of_limit: float = _MOST_OF_LIMIT,
    ) -> None:
        self._limit_seconds = limit_seconds
        self._most_seconds = limit_seconds * most_of_limit
        self._now = now
        self._seen: Mapping[str, float] = {}
        self.broken()

    def broken(self) -> None:
        """Somebody has moved."""
        self._began_at = self._since = self._seen_at = self._now()

    def is_over(self, cpu_seconds: Mapping[str, float]) -> bool:
        """Whether it has lasted too long.

        Args:
            cpu_seconds: how much each of those who should move has computed so far.
        """
        now = self._now()
        if now - self._seen_at >= _LOOK_SECONDS:
            computed = max(
                (at - self._seen.get(who, at) for who, at in cpu_seconds.items()), default=0
            )
            if computed > _IDLE_SHARE * (now - self._seen_at):
                self._since = now
            self._seen, self._seen_at = dict(cpu_seconds), now
        return now - self._since > self._limit_seconds or now - self._began_at > self._most_seconds
