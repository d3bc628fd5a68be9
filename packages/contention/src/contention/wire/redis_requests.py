"""Requests to Redis and what the server replied, as values."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from contention.model.footprints import Footprint
from contention.wire.redis_commands import RedisKind
from contention.wire.resp_values import shown_bytes

_SHOWN_ARGUMENTS = 12
_SECRET = "***"  # noqa: S105 - what is shown instead of one


class Answer(StrEnum):
    """How the server answers a command."""

    NONE = "not at all"
    ONE = "with one value"
    CONFIRMATIONS = "with a confirmation a channel"


@dataclass(frozen=True, slots=True)
class RedisRequest:
    """One command: what a gate holds and lets go.

    Attributes:
        number: 1, 2, 3 … on its connection.
        data: the bytes to pass on, exactly.
        name: in capitals, as in ``SET`` or ``XGROUP CREATE``.
        footprint: what it touches when the server runs it.
        block_seconds: how long it may wait for others, 0 for ever; None when it does not wait.
        is_queued: whether it only joins a transaction's queue.
        database: the one that it runs in.
    """

    number: int
    data: bytes = field(repr=False)
    name: str
    arguments: tuple[bytes, ...] = field(repr=False)
    kind: RedisKind
    answer: Answer
    footprint: Footprint
    block_seconds: Decimal | None
    is_queued: bool
    database: int

    @property
    def may_wait(self) -> bool:
        """Whether it may wait for others, or for messages from now on."""
        return self.block_seconds is not None or self.kind is RedisKind.SUBSCRIPTION

    @property
    def text(self) -> str:
        """The command for people: of bounded length, and without passwords."""
        words = self.arguments[:_SHOWN_ARGUMENTS]
        shown = [shown_bytes(word) for word in words]
        secret_at = self._secret_at()
        if secret_at is not None:
            shown[secret_at:] = [_SECRET]
        return " ".join(shown + ["…"] * (len(self.arguments) > len(words)))

    def _secret_at(self) -> int | None:
        """Where passwords begin, which are never shown."""
        upper = [word.upper() for word in self.arguments]
        if self.name in {"AUTH", "HELLO"} and b"AUTH" in upper:
            return upper.index(b"AUTH") + 1
        return 3 if self.name in {"CONFIG SET", "ACL SETUSER"} else None


@dataclass(frozen=True, slots=True)
class RedisReply:
    """A reply in short.

    Attributes:
        text: for people, of bounded length; empty when there is none.
        error: the message of an error reply.
        is_skipped: whether the server does not answer the command.
        is_lost: whether the connection ended first.
    """

    text: str = ""
    error: str | None = None
    is_skipped: bool = False
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """A message of the server that is no reply: of a channel, of tracking, a last error."""

    data: bytes
    text: str


class RedisSession:
    """What the two halves of a connection know in common.

    Attributes:
        database: the one that commands run in.
        unsettled_selects: SELECTs without a good reply so far, or that can never have one; as long
            as there are any it may be another database.
        protocol: 2 or 3, as the last HELLO agreed.
    """

    __slots__ = ("database", "protocol", "unsettled_selects")

    def __init__(self) -> None:
        self.database = 0
        self.unsettled_selects = 0
        self.protocol = 2
