"""Workers that ask the same again and again, until somebody changes the answer."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from contention.model.footprints import Footprint, Mode
from contention.wire.gate import Reply, Request
from contention.wire.postgres_messages import row_count
from contention.wire.redis_requests import RedisReply, RedisRequest

_LONGEST_PERIOD: Final = 6
_LOOKS: Final = re.compile(r"\s*(?:select|values|table|show)\b", re.IGNORECASE)
_NOES: Final = frozenset({"nil", "0", "false", "[]", "(false)", "(f)", "(NULL)", "(0)", "SELECT 0"})
_SCRIPTS: Final = ("EVAL", "FCALL")
_CHANGING: Final = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")
_TRANSACTION: Final = re.compile(
    r"\s*(?:begin|start|commit|end|rollback|abort)\b[\w\s]*;?\s*\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered.

    Attributes:
        looks: whether it may belong to a poll in vain, and has plainly changed nothing.
        changes: whether it has plainly changed something, so that it is no poll however often it
            is repeated.
    """

    text: str
    reply: Reply
    footprint: Footprint
    looks: bool
    changes: bool = False


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
    _history: deque[Asked] = field(default_factory=lambda: deque(maxlen=2 * _LONGEST_PERIOD))

    def remember(self, asked: Asked) -> None:
        """Another request was answered."""
        self._asked.append(asked)
        self._history.append(asked)
        if not self.period:
            self.idle = 0

    @property
    def period(self) -> int:
        """How many requests make up the poll; 0 while there is none."""
        return _period(self._asked)

    def is_repeated_by(self, text: str) -> bool:
        """Whether a request would be the same poll for the third time."""
        period = self.period
        return bool(period) and self._asked[-period].text == text

    @property
    def has_only_looked(self) -> bool:
        """Whether the latest poll was in vain, as it had been before, and so changed nothing.

        Otherwise two who poll with what might write would wake one another for ever.
        """
        period = _period(self._history)
        return bool(period) and all(one.looks for one in list(self._history)[-period:])

    def disturbed_by(self, footprint: Footprint) -> None:
        """Somebody else's step: if it touches what was asked about, the answer may be another."""
        if any(one.footprint.conflicts_with(footprint) for one in self._asked):
            self.forget()

    def forget(self) -> None:
        """Take every answer for a new one."""
        self._asked.clear()
        self.idle = 0


def _period(asked: Sequence[Asked]) -> int:
    latest = asked[-1].text if asked else ""
    if not any(one.text == latest for one in list(asked)[-1 - _LONGEST_PERIOD : -1]):
        return 0
    told = [(one.text, one.reply) for one in asked]
    for period in range(1, _LONGEST_PERIOD + 1):
        if len(told) >= 2 * period and told[-period:] == told[-2 * period : -period]:
            return 0 if any(one.changes for one in list(asked)[-period:]) else period
    return 0


def looks(request: Request, text: str, result: str) -> bool:
    """Whether a request may be a poll in vain: it reads, tries and fails, or frames a transaction.

    A script or function may write whatever it replies; what says no has not.
    """
    says_no = result in _NOES
    if isinstance(request, RedisRequest):
        return says_no or not _writes(request.footprint)
    return (says_no and bool(_LOOKS.match(text))) or bool(_TRANSACTION.match(text))


def changes(request: Request, reply: Reply, result: str) -> bool:
    """Whether a request has certainly changed something.

    A script may have written or not; a transaction that is rolled back has changed nothing after
    all, but its worker has got somewhere.
    """
    if reply.error is not None:
        return False
    if isinstance(request, RedisRequest):
        is_script = request.name.startswith(_SCRIPTS)
        return result not in _NOES and not is_script and _writes(request.footprint)
    tags = () if isinstance(reply, RedisReply) else reply.tags
    return any(tag.startswith(_CHANGING) and bool(row_count(tag)) for tag in tags)


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
