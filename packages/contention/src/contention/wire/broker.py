"""What passes between a worker and its broker: recorded, and never held.

Deliveries are no steps of a schedule: a queue may deliver late, twice or in another order, and
what a worker then does to its data is what is explored.
"""

from collections.abc import Callable
from dataclasses import dataclass

from contention.wire.events import Failure
from contention.wire.gate import Lane, Reply, Request
from contention.wire.redis_requests import RedisRequest


@dataclass(frozen=True, slots=True)
class Message:
    """One request to the broker.

    Attributes:
        lane: the connection, as in ``w1/1``.
        text: the command in words.
    """

    lane: str
    text: str


class BrokerKeeper:
    """Keeps the gates to brokers: lets everything pass at once.

    Args:
        moved: called with a worker's name whenever something passes.
        failed: called when a connection cannot be understood.
    """

    def __init__(
        self, moved: Callable[[str], None], failed: Callable[[Lane, Failure], None]
    ) -> None:
        self._moved = moved
        self._failed = failed
        self.messages: list[Message] = []

    def opened(self, lane: Lane) -> None:
        """A worker opened a connection."""
        self._moved(lane.worker)

    def arrived(self, lane: Lane, request: Request) -> bool:
        """A request came; it passes."""
        self._moved(lane.worker)
        if isinstance(request, RedisRequest):
            self.messages.append(Message(lane.name, request.text))
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:  # noqa: ARG002 - a keeper's signature
        """A reply has ended."""
        self._moved(lane.worker)

    def failed(self, lane: Lane, failure: Failure) -> None:
        """A connection that cannot be understood."""
        self._failed(lane, failure)

    def closed(self, lane: Lane) -> None:
        """A connection is gone."""
        self._moved(lane.worker)
