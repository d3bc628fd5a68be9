"""Advisory locks, as the planned call and its values name them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from contention.model.footprints import UNKNOWN, Footprint, Mode, Resource
from contention.wire.sql_words import calls, first_word, words_of

ALL_LOCKS: Final = Resource("advisory locks")
_KEY: Final = "key"
_ARGUMENT: Final = (
    r"(?:-?[0-9]+|'-?[0-9]+'::(?:bigint|integer)|\$[0-9]+|\(\$[0-9]+\)::(?:bigint|integer))"
)
_CALL: Final = re.compile(rf"(?P<name>\w+)\((?P<arguments>(?:{_ARGUMENT}(?:, {_ARGUMENT})?)?)\)")
_FUNCTIONS: Final = frozenset(
    f"pg_{trying}advisory_{scope}lock{shared}"
    for trying in ("", "try_")
    for scope in ("", "xact_")
    for shared in ("", "_shared")
) | {"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all"}
_UNLOCK: Final = "pg_advisory_unlock"
_UNLOCK_ALL: Final = "pg_advisory_unlock_all"
_WAITING: Final = frozenset({"pg_advisory_lock", "pg_advisory_xact_lock"})


@dataclass(frozen=True, slots=True)
class AdvisoryCall:
    """One call, alone in its statement.

    Attributes:
        function: its name.
        lock: which lock; all of them when the values do not say it.
    """

    function: str
    lock: Resource

    @property
    def waits_for_one(self) -> bool:
        """Whether one lock is waited for and then had alone."""
        return self.lock != ALL_LOCKS and self.function in _WAITING

    @property
    def is_of_session(self) -> bool:
        """Whether it is about locks that outlive their transaction."""
        return "xact" not in self.function


def is_advisory_call(sql: str, harmless: frozenset[str]) -> bool:
    """Whether a statement calls one function for advisory locks, and reads no table."""
    weighty = calls(sql) - harmless
    return (
        len(weighty) == 1
        and weighty <= _FUNCTIONS
        and first_word(sql) == "select"
        and not {"from", "into", "union"} & set(words_of(sql))
    )


def mentions_advisory_locks(sql: str) -> bool:
    """Whether a text may be about advisory locks."""
    return "advisory" in sql.lower()


def is_of_transaction(sql: str) -> bool:
    """Whether a text may be about advisory locks that end with their transaction."""
    return "xact" in sql.lower()


def read_call(output: Sequence[str], parameters: Sequence[str]) -> AdvisoryCall | None:
    """The call that a plan's output shows, with its values; `None` when it shows more than one."""
    match = _CALL.fullmatch(output[0]) if len(output) == 1 else None
    if match is None:
        return None
    arguments = match["arguments"].split(", ") if match["arguments"] else []
    values = [_value(argument, parameters) for argument in arguments]
    is_known = bool(values) and None not in values
    key = ", ".join(filter(None, values))
    return AdvisoryCall(
        match["name"], Resource(ALL_LOCKS.name, _KEY, key) if is_known else ALL_LOCKS
    )


def _value(argument: str, parameters: Sequence[str]) -> str | None:
    number = re.search(r"\$([0-9]+)", argument)
    literal = argument
    if number:
        place = int(number[1]) - 1
        literal = parameters[place] if place < len(parameters) else ""
    found = re.match(r"'?(-?[0-9]{1,19})(?:'|$)", literal)
    return str(int(found[1])) if found else None


@dataclass(slots=True)
class SessionLocks:
    """The advisory locks of a connection that outlive its transactions.

    Attributes:
        counts: how often each lock is had alone, by one session.
        unsure: locks that it may have in another way.
        is_hidden: whether it may have some that nobody has seen it take.
    """

    counts: dict[Resource, int] = field(default_factory=dict)
    unsure: set[Resource] = field(default_factory=set)
    is_hidden: bool = False

    @property
    def may_have_some(self) -> bool:
        """Whether the session has locks, or may have."""
        return bool(self.counts or self.unsure or self.is_hidden)

    def call(self, call: AdvisoryCall, held: frozenset[Resource], *, has_waited: bool) -> Footprint:
        """What a call touches that has been answered, and note what it changes here.

        Args:
            call: the call.
            held: locks that the open transaction has alone.
            has_waited: whether it had to wait.
        """
        if call.function == _UNLOCK_ALL:
            return self.end()
        if call.function == _UNLOCK and self.counts.get(call.lock):
            return self._unlock(call.lock, held)
        if not call.waits_for_one or call.lock in self.unsure:
            if call.is_of_session:
                self.unsure.add(call.lock)
            return _touch(call.lock, Mode.WRITE)
        has_it = call.lock in self.counts or call.lock in held
        if call.is_of_session:
            self.counts[call.lock] = self.counts.get(call.lock, 0) + 1
        return _touch(call.lock, Mode.HELD if has_it or has_waited else Mode.ACQUIRE)

    def waiting(self, call: AdvisoryCall) -> Footprint:
        """What a call touches that waits."""
        is_plain = call.waits_for_one and call.lock not in self.unsure
        return _touch(call.lock, Mode.ACQUIRE if is_plain else Mode.WRITE)

    def end(self) -> Footprint:
        """What is touched when the session lets go of everything."""
        released = tuple((lock, Mode.RELEASE) for lock in self.counts)
        unsure = tuple((lock, Mode.WRITE) for lock in self.unsure)
        found = UNKNOWN if self.is_hidden else Footprint(released + unsure)
        self.counts, self.unsure, self.is_hidden = {}, set(), False
        return found

    def kept_from(self, end: Footprint) -> Footprint:
        """The end of a transaction without the locks that the session keeps."""
        touches = (touch for touch in end.touches if touch[0] not in self.counts)
        return Footprint(tuple(touches), end.is_known)

    def _unlock(self, lock: Resource, held: frozenset[Resource]) -> Footprint:
        self.counts[lock] -= 1
        if self.counts[lock]:
            return _touch(lock, Mode.HELD)
        del self.counts[lock]
        return _touch(lock, Mode.HELD if lock in held else Mode.RELEASE)


def _touch(lock: Resource, mode: Mode) -> Footprint:
    return Footprint(((lock, mode),))
