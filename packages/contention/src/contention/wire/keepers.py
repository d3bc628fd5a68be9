"""Who decides what passes a gate."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contention.wire.events import Failure
    from contention.wire.lane import Lane, Reply, Request
    from contention.wire.postgres_requests import Execution


class Keeper(Protocol):
    """Decides what passes, and is told of everything. It is called in the gates' event loop."""

    def opened(self, lane: "Lane") -> None:
        """A worker opened a connection."""

    def arrived(self, lane: "Lane", request: "Request") -> bool:
        """A request came; whether it passes at once. If not, `Lane.let_pass` lets it go later."""

    def replied(self, lane: "Lane", request: "Request", reply: "Reply") -> None:
        """A reply has ended."""

    def failed(self, lane: "Lane", failure: "Failure") -> None:
        """The connection speaks in a way that no request's end can be found; it was closed."""

    def closed(self, lane: "Lane") -> None:
        """The connection is gone."""


@runtime_checkable
class Divider(Protocol):
    """A keeper that is given requests of PostgreSQL in parts; see `request_parts`."""

    def ends_apart(self, lane: "Lane", execution: "Execution") -> bool:
        """Whether a statement outside of a transaction block ends in a part of its own."""
