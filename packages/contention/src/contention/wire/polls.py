"""Workers that ask the same again and again, until somebody changes the answer."""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from contention.model.footprints import Footprint, Mode
from contention.wire.gate import Reply, Request
from contention.wire.redis_requests import RedisReply, RedisRequest

_LONGEST_PERIOD: Final = 6
_LOOKS: Final = re.compile(r"\s*(?:select|values|table|show)\b", re.IGNORECASE)
_TRIES: Final = frozenset({"SET", "SETNX", "EVAL", "EVALSHA", "FCALL"})
_TRANSACTION: Final = re.compile(
    r"\s*(?:begin|start|commit|end|rollback|abort)\b[\w\s]*;?\s*\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered.

    Attributes:
        looks: whether it is of a kind that polls are made of, and not one that plainly changes
            something.
    """

    text: str
    reply: Reply
    footprint: Footprint
    looks: bool


@dataclass(slots=True)
class PollMemory:
    """What one worker asked lately, as long as nobody changed what it asks about.

    A poll is a request, or up to six in turn, that a worker sent twice with the same replies and is
    about to send again.

    Attributes:
        idle: how often in a row it has polled in vain although time had passed.
    """

    idle: int = 0
    _asked: deque[Asked] = field(default_factory=lambda: deque(maxlen=2 * _LONGEST_PERIOD))

    def remember(self, asked: Asked) -> None:
        """Another request was answered."""
        self._asked.append(asked)
        if not self.period:
            self.idle = 0

    def is_repeated_by(self, text: str) -> bool:
        """Whether a request would be the same poll for the third time."""
        period = self.period
        return bool(period) and self._asked[-period].text == text

    @property
    def has_only_looked(self) -> bool:
        """Whether the latest request got what it had got before, so that it changed nothing."""
        period = self.period
        return bool(period) and all(one.looks for one in list(self._asked)[-period:])

    def disturbed_by(self, footprint: Footprint) -> None:
        """Somebody else's step: if it touches what was asked about, the answer may be another."""
        if any(one.footprint.conflicts_with(footprint) for one in self._asked):
            self.forget()

    def forget(self) -> None:
        """Take every answer for a new one."""
        self._asked.clear()
        self.idle = 0

    @property
    def period(self) -> int:
        """How many requests make up the poll; 0 while there is none."""
        told = [(one.text, one.reply) for one in self._asked]
        for period in range(1, _LONGEST_PERIOD + 1):
            if len(told) >= 2 * period and told[-period:] == told[-2 * period : -period]:
                return period
        return 0


def looks(request: Request, text: str) -> bool:
    """Whether a request may be part of a poll: it reads, tries to take, or frames a transaction."""
    if isinstance(request, RedisRequest):
        return request.name in _TRIES or not _writes(request.footprint)
    return bool(_LOOKS.match(text) or _TRANSACTION.match(text))


def touched_by(request: RedisRequest, reply: RedisReply) -> Footprint:
    """What a command touched, now that its reply is known.

    SET with NX that finds the key says nil, and SETNX says 0: they have read it and no more.
    """
    words = [word.upper() for word in request.arguments[3:]]
    has_failed = (
        request.name == "SET"
        and b"NX" in words
        and b"GET" not in words
        and reply.text == "nil"
        and reply.error is None
    ) or (request.name == "SETNX" and reply.text == "0")
    return _reading(request.footprint) if has_failed else request.footprint


def _reading(footprint: Footprint) -> Footprint:
    touches = tuple((resource, Mode.READ) for resource, _ in footprint.touches)
    return Footprint(touches, footprint.is_known)


def _writes(footprint: Footprint) -> bool:
    return _reading(footprint) != footprint
