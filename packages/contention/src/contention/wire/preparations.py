"""Statements that are prepared before they run: the two are one step.

To parse a statement the server locks its tables, for as long as the transaction lasts that it is
in; one that was not begun lasts from a Flush to the next Sync. So there a preparation is held like
a step; once it is let go on, what has been prepared follows without being held again.
"""

from typing import Final

from contention.wire.gate import Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresReply, PostgresRequest, RequestKind

_OPEN: Final = "T"
_FLUSH: Final = "H"


class Preparations:
    """Preparations that were held, and connections whose next request belongs to the same step."""

    def __init__(self) -> None:
        self._held: dict[str, Request] = {}
        self._followed_on: set[str] = set()

    def take(self, lane: Lane, request: Request) -> bool:
        """Whether a request that has come prepares something, and has to be held."""
        if not _prepares_inside(lane, request):
            return False
        self._held[lane.name] = request
        return True

    def go_on(self, lane: Lane, request: Request) -> None:
        """A held request is let go on; if it prepares something, the next one follows."""
        if self._held.get(lane.name) is request:
            self._followed_on.add(lane.name)

    def are_followed_on(self, lane: Lane) -> bool:
        """Whether the request that comes now follows in the same step; asked once for each."""
        follows = lane.name in self._followed_on
        self._followed_on.discard(lane.name)
        return follows

    def have_failed(self, lane: Lane, request: Request, reply: Reply) -> bool:
        """Whether a request was a preparation that was held, and is refused: nothing follows."""
        if self._held.get(lane.name) is not request:
            return False
        del self._held[lane.name]
        return isinstance(reply, PostgresReply) and reply.error is not None

    def forget(self) -> None:
        """The step is over: whoever still waits to have something prepared is held again."""
        self._followed_on.clear()


def _prepares_inside(lane: Lane, request: Request) -> bool:
    """Whether a request has a statement parsed, and no more, in a transaction that goes on."""
    return (
        isinstance(request, PostgresRequest)
        and request.kind is RequestKind.PREPARATION
        and bool(request.texts)
        and isinstance(lane.framing, PostgresFraming)
        and (lane.framing.transaction_status == _OPEN or request.messages.endswith(_FLUSH))
    )
