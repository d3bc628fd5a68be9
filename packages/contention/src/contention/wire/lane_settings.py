"""What a connection has set for itself, as far as it decides what its statements touch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contention.wire.hidden_words import mentions_limits
from contention.wire.postgres_requests import PostgresRequest
from contention.wire.postgres_sql import Verb
from contention.wire.sql_words import words_of

_SNAPSHOTS: Final = re.compile(r"repeatable\s+read|serializable", re.IGNORECASE)
_SERIALIZABLE: Final = re.compile(r"serializable", re.IGNORECASE)
_ANYTHING: Final = re.compile(r"set_config|pg_settings|\bsnapshot\b", re.IGNORECASE)
_ISOLATION: Final = re.compile(r"isolation", re.IGNORECASE)
_START_UP: Final = frozenset(
    {
        "user",
        "database",
        "client_encoding",
        "application_name",
        "datestyle",
        "timezone",
        "geqo",
        "idle_in_transaction_session_timeout",
        "lock_timeout",
        "statement_timeout",
    }
)
# Settings that do not change what a name means.
_USUAL_NAMES: Final = """
    all application_name bytea_output characteristics client_encoding client_min_messages datestyle
    default_transaction_isolation extra_float_digits idle_in_transaction_session_timeout
    intervalstyle jit lock_timeout names statement_timeout synchronous_commit time timezone
    transaction work_mem
    """
_USUAL: Final = frozenset(_USUAL_NAMES.split())
_NOISE: Final = frozenset({"set", "reset", "local", "session", "deallocate"})


@dataclass(slots=True)
class LaneSettings:
    """One connection's settings; what has been set once counts for good.

    Attributes:
        is_usual: whether names mean to it what they mean to the kit.
        has_limits: whether its waits may end by a limit of time.
        has_snapshots: whether transactions may see the database as it was at their beginning.
        is_serializable: whether they may be SERIALIZABLE.
        has_savepoints: whether transactions may be taken back in part.
    """

    is_usual: bool = True
    has_limits: bool = False
    has_snapshots: bool = False
    is_serializable: bool = False
    has_savepoints: bool = False

    def start(self, start_up: Mapping[str, str], user: str, isolation: str) -> None:
        """Take in what the client asked for when it connected, and the database's default."""
        names = {name.lower() for name in start_up}
        self.is_usual &= names <= _START_UP and start_up.get("user", user) == user
        self.has_limits |= any(mentions_limits(" ".join(one)) for one in start_up.items())
        for value in (isolation, *start_up.values()):
            self._see(value)
        if any(_ISOLATION.search(value) for value in start_up.values()) and not self.has_snapshots:
            self._suspect()

    def take(self, request: PostgresRequest) -> None:
        """Take in what a request sets."""
        for text in request.texts:
            self._see(text)
            self.has_limits |= mentions_limits(text)
            if _ANYTHING.search(text):
                self._suspect()
        for execution in request.executions:
            for statement in execution.statements:
                self.has_savepoints |= statement.verb is Verb.SAVEPOINT
                if statement.verb is Verb.SET:
                    self.is_usual &= _is_usual(statement.text)

    def _see(self, text: str) -> None:
        self.has_snapshots |= _SNAPSHOTS.search(text) is not None
        self.is_serializable |= _SERIALIZABLE.search(text) is not None

    def _suspect(self) -> None:
        self.is_usual, self.has_snapshots, self.is_serializable = False, True, True


def _is_usual(text: str) -> bool:
    words = [word for word in words_of(text) if word not in _NOISE]
    return not words or words[0] in _USUAL or text.lower().startswith("deallocate")
