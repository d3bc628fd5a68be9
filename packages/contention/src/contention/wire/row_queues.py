"""Who waits for a row gets it in the order of asking, but for the server's own races.

Of those who wait for a row that its holder has changed, the first lets go of its place in the queue
for the old version before it asks for the new one (``heap_lock_tuple``, README.tuplock): whoever
is woken with it may overtake. Such a run is another one than the same steps lead to mostly.
"""

from collections.abc import Callable, Collection, Mapping

from contention.wire.blocking import Wait


def overtaker(
    before: Mapping[str, Wait],
    now: Mapping[str, Wait],
    answered: Collection[str],
    asked_at: Callable[[str], int | None],
) -> str:
    """The lane that came before one that had waited for the same row for longer; or empty.

    Args:
        before: the waits before a step, by lane.
        now: those after it.
        answered: lanes that got what they asked for in that step.
        asked_at: the number of the step with which a lane came to wait.
    """
    for name in sorted(answered):
        wait = before.get(name)
        if wait is not None and any(
            wait.is_behind_in_row(before[other]) for other in before.keys() & now.keys()
        ):
            return name
    for name, wait in sorted(now.items()):
        for other in sorted(now):
            if wait.is_behind_in_row(now[other]) and _is_earlier(asked_at(name), asked_at(other)):
                return other
    return ""


def has_queue(waits: Mapping[str, Wait]) -> bool:
    """Whether one waits behind another for the same row."""
    return any(wait.is_behind_in_row(other) for wait in waits.values() for other in waits.values())


def _is_earlier(number: int | None, other: int | None) -> bool:
    return number is not None and other is not None and number < other
