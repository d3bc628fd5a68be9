"""What both protocols have in common: two halves, numbered requests, one failure."""

from typing import Final, Generic, Protocol, TypeVar

from contention.wire.events import Failure, Malformed, Side, Stopped


class Numbered(Protocol):
    """A request; requests of a connection are counted from 1."""

    @property
    def number(self) -> int: ...  # noqa: D102 - the class says it


Asked = TypeVar("Asked", bound=Numbered)
ToServer = TypeVar("ToServer")
ToClient = TypeVar("ToClient")
Asked_contra = TypeVar("Asked_contra", contravariant=True)
_Event = TypeVar("_Event")


class Half(Protocol[_Event]):
    """One direction of a connection."""

    def receive(self, data: bytes, events: list[_Event]) -> None:
        """Add what bytes mean to the events, in any chunking."""


class AnsweringHalf(Half[_Event], Protocol[Asked_contra, _Event]):
    """The server's direction."""

    def release(self, request: Asked_contra) -> list[_Event]:
        """A request goes to the server now."""

    def close(self) -> list[_Event]:
        """The server closed."""


class TwoHalves(Generic[Asked, ToServer, ToClient]):
    """One connection between a client and a server, seen from between them.

    Args:
        client: the direction to the server.
        server: the direction to the client.
        broken: what else a half raises at a message that cannot be read.
    """

    def __init__(
        self,
        client: Half[ToServer | Failure],
        server: AnsweringHalf[Asked, ToClient | Failure],
        broken: tuple[type[Exception], ...],
    ) -> None:
        self._to_server: Final = client
        self._to_client: Final = server
        self._broken = broken
        self._released = 0
        self._failure: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        """Why the framing stopped; None while it goes on."""
        return self._failure

    def receive_client(self, data: bytes) -> list[ToServer | Failure]:
        """What bytes of the client mean, in any chunking.

        Returns:
            events in order; a `Failure` is the last there will ever be.
        """
        return self._received(self._to_server, data, Side.CLIENT)

    def receive_server(self, data: bytes) -> list[ToClient | Failure]:
        """What bytes of the server mean, in any chunking.

        Returns:
            events in order; a `Failure` is the last there will ever be.
        """
        return self._received(self._to_client, data, Side.SERVER)

    def release(self, request: Asked) -> list[ToClient | Failure]:
        """Say that a request goes to the server now; requests go in their order.

        Returns:
            the end of its reply when the server will not answer it, else nothing.

        Raises:
            ValueError: the request is not the next one.
        """
        if request.number != self._released + 1:
            raise ValueError(f"request {self._released + 1} is next, not {request.number}")
        self._released = request.number
        return self._to_client.release(request)

    def close_server(self) -> list[ToClient | Failure]:
        """Say that the server closed: every reply that had not ended is lost."""
        return self._to_client.close()

    def _received(
        self, half: Half[_Event | Failure], data: bytes, side: Side
    ) -> list[_Event | Failure]:
        if self._failure:
            return [self._failure]
        events: list[_Event | Failure] = []
        try:
            half.receive(data, events)
        except Stopped as stopped:
            self._failure = stopped.failure
        except self._broken as error:
            self._failure = Malformed(side, f"a message cannot be read: {error}")
        if self._failure:
            events.append(self._failure)
        return events
