"""How long connections to PostgreSQL let the server wait for locks, as far as they have said so.

``lock_timeout`` counts from the beginning of each wait for a lock, ``statement_timeout`` from that
of the statement. They come from the server's own settings, a role's or a database's, from what a
client asks for when it connects, and from SET, RESET and set_config with their transactions
(PostgreSQL documentation, 19.1 and 19.11.1). What cannot be read for certain is not known.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

from contention.wire.catalogue import Catalogue
from contention.wire.gate import Lane, Reply, Request
from contention.wire.hidden_words import handles_errors, mentions_limits
from contention.wire.postgres_requests import Execution, PostgresReply, PostgresRequest
from contention.wire.postgres_sql import Verb, tokens
from contention.wire.sql_words import first_word

LOCK: Final = "lock_timeout"
STATEMENT: Final = "statement_timeout"
NAMES: Final = (LOCK, STATEMENT, "transaction_timeout")

_OF_THE_SESSION_ALONE: Final = frozenset({"select", "set", "reset", "discard", "with", "do"})
_ENDING: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK})
_NAMES: Final = f"(?P<name>{'|'.join(NAMES)})"
_SET: Final = re.compile(
    rf"set (?P<scope>local |session |){_NAMES} (?:=|to) "
    r"(?:'(?P<text>[^']*)'|(?P<plain>\d+|default))",
    re.IGNORECASE,
)
_CALL: Final = re.compile(
    rf"select (?:pg_catalog \. )?set_config \( '{_NAMES}' , '(?P<text>[^']*)' , "
    r"'?(?P<is_local>true|false|t|f)'? \)",
    re.IGNORECASE,
)
_RESET: Final = re.compile(rf"reset (?:all|{_NAMES})|discard all", re.IGNORECASE)
_WORDS: Final = re.compile(r"timeout|set_config|reset|discard", re.IGNORECASE)
_KEPT_TEXTS: Final = 256
"""Every run of a search asks the same."""
_OPTION: Final = re.compile(r"(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>(?:\\.|\S)*)")
_PARAMETER: Final = re.compile(r"\$(\d+)")
_TIME: Final = re.compile(r"\s*(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|min|h|d|)\s*")
_UNIT_MS: Final = {
    "": Decimal(1),
    "us": Decimal("0.001"),
    "ms": Decimal(1),
    "s": Decimal(1000),
    "min": Decimal(60_000),
    "h": Decimal(3_600_000),
    "d": Decimal(86_400_000),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one connection waits; 0 for ever."""

    lock_ms: int = 0
    statement_ms: int = 0

    def __bool__(self) -> bool:
        return bool(self.lock_ms or self.statement_ms)


@dataclass(frozen=True, slots=True)
class _Change:
    """What one statement does to the limits.

    Attributes:
        name: whose value changes; empty for all of them.
        value_ms: `None` for what the connection began with.
        is_local: whether only for the rest of the transaction.
    """

    name: str = ""
    value_ms: int | None = None
    is_local: bool = False


class _UnclearError(Exception):
    """A text about limits that cannot be read."""


@dataclass(slots=True)
class LaneLimits:
    """The limits of one connection.

    Attributes:
        is_certain: whether they are known; once they are not, they never are.
    """

    is_certain: bool = True
    _began_with: dict[str, int] = field(default_factory=dict)
    _settled: dict[str, int] = field(default_factory=dict)
    _session: dict[str, int] = field(default_factory=dict)
    _local: dict[str, int] = field(default_factory=dict)

    @property
    def now(self) -> Limits | None:
        """What the next statement is under; `None` when that is not known."""
        values = {**self._session, **self._local}
        if not self.is_certain or values.get(NAMES[2]):
            return None
        return Limits(values.get(LOCK, 0), values.get(STATEMENT, 0))

    def begin(self, defaults: Mapping[str, int], start_up: Mapping[str, str]) -> None:
        """Take in what the client asked for when it connected."""
        self._began_with = dict(defaults)
        try:
            self._began_with.update(_limits_in(start_up))
        except _UnclearError:
            self.is_certain = False
        self._settled, self._session = dict(self._began_with), dict(self._began_with)

    def answered(self, request: PostgresRequest, reply: PostgresReply) -> None:
        """Take in what a request has set, now that its reply is known."""
        try:
            changes = list(_changes(request))
        except _UnclearError:
            self.is_certain = False
            return
        verbs = set(request.verbs)
        ends = bool(verbs & _ENDING)
        if changes and ends:
            self.is_certain = False
        if reply.error is None and not reply.is_skipped:
            for change in changes:
                self._apply(change)
        if reply.transaction_status is None and reply.error is not None:
            self._session = dict(self._settled)
        if reply.transaction_status == "I":
            was_undone = reply.error is not None or "ROLLBACK" in reply.tags
            self._session = dict(self._settled if was_undone else self._session)
            self._settled, self._local = dict(self._session), {}
        elif (ends or Verb.ROLLBACK_TO in verbs) and (
            self._local or self._session != self._settled
        ):
            self.is_certain = False

    def _apply(self, change: _Change) -> None:
        for name in [change.name] if change.name else NAMES:
            value = self._began_with.get(name, 0) if change.value_ms is None else change.value_ms
            if change.is_local:
                self._local[name] = value
            else:
                self._session[name] = value
                self._local.pop(name, None)


class TimeLimits:
    """The limits of every connection of one run.

    Args:
        catalogue: of the run's database.

    Attributes:
        is_cancelling_the_same: whether a statement that is cancelled ends as one whose limit fires:
            nothing handles errors inside of the server, where the two could be told apart.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lanes: dict[Lane, LaneLimits] = {}
        self._are_certain = not catalogue.limits_waits
        self.is_cancelling_the_same = not catalogue.handles_errors

    def arrived(self, lane: Lane, request: Request) -> None:
        """Note what makes limits uncertain before it is even run."""
        if not isinstance(request, PostgresRequest):
            return
        if any(map(handles_errors, request.texts)):
            self.is_cancelling_the_same = False
        try:
            list(_changes(request))
        except _UnclearError:
            self._lane(lane).is_certain = False
            if not {first_word(text) for text in request.texts} <= _OF_THE_SESSION_ALONE:
                self._are_certain = False

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """Take in what a request has set."""
        if isinstance(request, PostgresRequest) and isinstance(reply, PostgresReply):
            self._lane(lane).answered(request, reply)

    def of(self, lane: Lane) -> Limits | None:
        """The limits that a connection waits under; `None` when they are not known."""
        sets_some = any(
            mentions_limits(text)
            for request in lane.awaited
            if isinstance(request, PostgresRequest)
            for text in request.texts
        )
        return None if sets_some or not self._are_certain else self._lane(lane).now

    def _lane(self, lane: Lane) -> LaneLimits:
        if lane not in self._lanes:
            limits = self._lanes[lane] = LaneLimits()
            limits.begin(self._catalogue.limits_ms, lane.start_up)
            user = lane.start_up.get("user", self._catalogue.user)
            if self._catalogue.limits_by_role and user != self._catalogue.user:
                limits.is_certain = False
        return self._lanes[lane]


def _limits_in(start_up: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The limits that a client began with.

    Raises:
        _UnclearError: there may be some that cannot be read.
    """
    for name, value in _asked_for(start_up):
        if name in NAMES:
            yield name, _milliseconds(value)
        elif mentions_limits(f"{name} {value}"):
            raise _UnclearError


def _asked_for(start_up: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The settings that a client began with, those among its command-line options too."""
    for name, value in start_up.items():
        if name.lower() != "options":
            yield name.lower(), value
            continue
        for option in _OPTION.finditer(value):
            unescaped = re.sub(r"\\(.)", r"\1", option["value"])
            yield option["name"].lower().replace("-", "_"), unescaped
        rest = _OPTION.sub("", value)
        if rest.strip():
            yield name, rest


def _changes(request: PostgresRequest) -> Iterator[_Change]:
    """What a request sets, in order.

    Raises:
        _UnclearError: it may set something, and nobody can say what.
    """
    for execution in request.executions:
        for statement in execution.statements:
            if not _may_be_about_limits(statement.text, execution):
                continue
            text = _plain(statement.text, execution)
            if _RESET.fullmatch(text) or mentions_limits(text):
                yield from _change(text)


def _may_be_about_limits(sql: str, execution: Execution) -> bool:
    """Whether it has any of the words that matter, wherever; mostly it has none."""
    return _has_words(sql) or ("$" in sql and any(map(_has_words, execution.parameters())))


@lru_cache(maxsize=_KEPT_TEXTS)
def _has_words(text: str) -> bool:
    return _WORDS.search(text) is not None


def _change(text: str) -> Iterator[_Change]:
    if first_word(text) == "show":
        return
    if reset := _RESET.fullmatch(text):
        yield _Change(reset["name"].lower() if reset["name"] else "")
    elif found := _SET.fullmatch(text):
        is_local = found["scope"].lower() == "local "
        is_default = (found["plain"] or "").lower() == "default"
        value = None if is_default else _milliseconds(found["text"] or found["plain"] or "")
        yield _Change(found["name"].lower(), value, is_local)
    elif found := _CALL.fullmatch(text):
        is_local = found["is_local"].lower().startswith("t")
        yield _Change(found["name"].lower(), _milliseconds(found["text"]), is_local)
    else:
        raise _UnclearError


def _plain(sql: str, execution: Execution) -> str:
    """A statement with its values in it, and with one blank between its parts."""
    values = execution.parameters() if "$" in sql else ()

    def value(match: re.Match[str]) -> str:
        place = int(match[1])
        return values[place - 1] if 0 < place <= len(values) else match[0]

    return " ".join(text for _, text in tokens(_PARAMETER.sub(value, sql)))


def _milliseconds(text: str) -> int:
    """A time as PostgreSQL reads it.

    Raises:
        _UnclearError: it is written in another way.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise _UnclearError
    exact = Decimal(found["count"]) * _UNIT_MS[found["unit"]]
    return int(exact.to_integral_value(ROUND_HALF_EVEN))
