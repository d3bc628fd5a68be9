"""Where in a worker's code a request was made, and that it is its own link."""

from collections.abc import Iterable

from contention.wire.actors import Actor
from contention.wire.quiet import StageError


def source_of(actor: Actor, text: str, everybody: Iterable[Actor]) -> str:
    """Where a worker asks.

    Raises:
        StageError: another one asks, through this one's link.
    """
    others = [other for other in everybody if not other.is_at_rest]
    if others and not actor.worker.has_at_hand(text):
        for other in others:
            if other.worker.has_at_hand(text):
                raise StageError(
                    f"{other.name} uses a link of {actor.name}, for {text}: open a connection "
                    "for each worker, from its own links, and share none between them"
                )
    return actor.worker.asks_at(text)
