"""What PostgreSQL says when a time limit ends a wait, put into a real cancellation's place.

A limit that fires and a cancellation end a statement in the same function of the server
(``ProcessInterrupts``): the locks it waits for are let go and the transaction fails, whichever it
was. What is said differs in the code, the message and the line of the source; the rest is alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from contention.wire.events import Refused, ReplyEnd, ReplyPart
from contention.wire.postgres_messages import HEADER_SIZE, LENGTH, ServerMessage, read_fields
from contention.wire.postgres_requests import PostgresReply


@dataclass(frozen=True, slots=True)
class LimitWords:
    """What one server says, by the letters of the fields that a reason decides.

    Attributes:
        cancelled: when somebody cancels a statement.
        limits: when a limit ends it, by the setting's name.
    """

    cancelled: Mapping[str, str]
    limits: Mapping[str, Mapping[str, str]]

    def limit_of(self, error: ServerMessage) -> str:
        """Which limit an error says has ended a wait, by the setting's name; or empty."""
        told = {"C": error.sqlstate, "M": error.message}
        found = (name for name, said in self.limits.items() if told.items() <= said.items())
        return next(found, "")


class Reworded:
    """The next error of one connection: a cancellation, told as a limit that fired.

    Args:
        words: what the server says.
        limit: the setting's name.
        encoding: Python's name of the connection's.
    """

    def __init__(self, words: LimitWords, limit: str, encoding: str) -> None:
        self._words = words
        self._said = words.limits[limit]
        self._limit = limit
        self._encoding = encoding
        self._error: ServerMessage | None = None
        self.is_over = False

    def told(self, event: object) -> object:
        """What the client is told instead of an event; itself while there is no error in it."""
        if self.is_over or not isinstance(event, ReplyPart | ReplyEnd):
            return event
        try:
            data = self._data(event.data)
        except ValueError as unexpected:
            return Refused(f"the {self._limit} of a wait", str(unexpected))
        if not isinstance(event, ReplyEnd) or not isinstance(event.reply, PostgresReply):
            return replace(event, data=data)
        self.is_over = True
        error = self._error if event.reply.error is not None else None
        return replace(event, data=data, reply=replace(event.reply, error=error))

    def _data(self, data: bytes) -> bytes:
        """Whole messages, the first error among them in other words."""
        position = 0
        while position < len(data) and self._error is None:
            end = position + 1 + LENGTH.unpack_from(data, position + 1)[0]
            if data[position : position + 1] == b"E":
                body = self._body(data[position + HEADER_SIZE : end])
                self._error = read_fields(body, self._encoding)
                message = b"E" + LENGTH.pack(LENGTH.size + len(body)) + body
                return data[:position] + message + data[end:]
            position = end
        return data

    def _body(self, body: bytes) -> bytes:
        fields = [(chr(part[0]), part[1:]) for part in body.split(b"\0") if part]
        told = {letter: value.decode(self._encoding) for letter, value in fields}
        if self._said.items() <= told.items():
            return body  # the limit itself was faster
        if not self._words.cancelled.items() <= told.items():
            raise ValueError(f"the server ends it by another error: {told.get('M', '')}")
        parts = [
            letter.encode() + self._said[letter].encode(self._encoding)
            if letter in self._said
            else letter.encode() + value
            for letter, value in fields
        ]
        return b"\0".join(parts) + b"\0\0"
