"""What a function of the user's raised, as a sentence with the line that did."""

import re
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Final

from contention.wire.user_frames import place_at

_OF_A_DEADLOCK: Final = re.compile(
    r"\n(?:DETAIL:\s*)?Process \d+ waits for .*|\nHINT:\s*See server log for query details\."
)
"""PostgreSQL names backends by their process ids, which differ from run to run."""


def complaint(name: str, error: BaseException, deadlocks: tuple[str, ...] = ()) -> str:
    """That somebody raised an exception, as in ``w1 raised KeyError: 'tea' [shop.py:12]``.

    Args:
        name: who raised it.
        error: whose message may have several lines; the place stands at the end of the first.
        deadlocks: that the server ended in the same run, each as a sentence.
    """
    text = _OF_A_DEADLOCK.sub("", str(error)) if deadlocks else str(error)
    first, *others = f"{name} raised {type(error).__name__}: {text}".split("\n")
    place = place_at(reversed(list(_frames(error.__traceback__))))
    head = f"{first} [{place}]" if place else first
    return "; ".join(["\n".join([head, *others]), *deadlocks])


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """The frames of a traceback from the outermost on, each with the line at which it was left."""
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
