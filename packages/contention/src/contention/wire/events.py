"""What a framing tells its gate: values that both protocols share.

Every event that carries ``data`` carries whole messages, exactly as they came. The ``data`` of all
events of one side, in order, are that side's stream: a gate that passes them on changes nothing.
(`Answer` is the exception: its question never reaches the server.)
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

ReplyType = TypeVar("ReplyType")


class Side(StrEnum):
    """Who sent a message."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Forward:
    """Bytes of the client that are no request and go to the server at once, as in a log-in."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that the gate itself gives the client; the question stays at the gate."""

    data: bytes
    question: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The client's last words, as in Terminate; they go to the server at once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """A part of the reply to request ``number``, and not its end."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ReplyEnd(Generic[ReplyType]):
    """The end of the reply to request ``number``: the server waits for the client now.

    Attributes:
        data: the rest of the reply; empty for a request that the server does not answer.
        reply: what the whole reply said, in short.
    """

    number: int
    data: bytes
    reply: ReplyType


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message that the life cycle's table does not have."""

    side: Side
    message: str
    state: str

    def __str__(self) -> str:
        return (
            f"a message of the {self.side} that the gate does not know: "
            f"{self.message} while {self.state}"
        )


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that break the protocol's own rules, so that no end can be found any more."""

    side: Side
    reason: str

    def __str__(self) -> str:
        return f"the {self.side} broke the protocol: {self.reason}"


@dataclass(frozen=True, slots=True)
class TlsDemanded:
    """The client began with TLS without asking; a gate has to read what passes."""

    remedy: str

    def __str__(self) -> str:
        return f"the client speaks TLS to a link, which is plain text: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Refused:
    """Something valid that a gate cannot carry, with the reason."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} cannot pass a gate: {self.reason}"


Failure = UnknownMessage | Malformed | TlsDemanded | Refused
"""Why a framing stopped. It stays stopped: every later call returns the same failure."""

TLS_HANDSHAKE = 0x16
"""The first byte of a TLS ClientHello (RFC 8446, section 5.1)."""


def byte_text(byte: int) -> str:
    """A byte for a message to people, as in ``byte 0x7a ('z')``."""
    shown = f" ({chr(byte)!r})" if chr(byte).isprintable() and chr(byte).isascii() else ""
    return f"byte 0x{byte:02x}{shown}"


class Stopped(Exception):  # noqa: N818 - it carries a failure to the framing's edge and no further
    """Raised inside a framing alone, which turns it into the failure's event."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure
