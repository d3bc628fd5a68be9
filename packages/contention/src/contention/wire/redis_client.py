"""The client's half of a Redis connection: bytes in, requests out."""

from contention.model.footprints import NOTHING, UNKNOWN, Footprint
from contention.wire.events import Failure, Forward, Refused, Stopped
from contention.wire.redis_commands import (
    RedisKind,
    block_seconds,
    command_name,
    footprint_of,
    kind_of,
)
from contention.wire.redis_lifecycle import (
    CLIENT_TABLE,
    NEVER_OTHER,
    OTHER,
    REFUSALS,
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP,
    SUBSCRIPTIONS,
    ClientState,
)
from contention.wire.redis_requests import Answer, RedisRequest, RedisSession
from contention.wire.redis_scripts import Scripts
from contention.wire.resp import Command, CommandScanner

ClientEvent = RedisRequest | Forward | Failure

_AT_ONCE = frozenset({"EXEC", "DISCARD", "MULTI", "WATCH", "RESET", "QUIT"})
"""Commands that a transaction does not queue."""
_ENDS = frozenset({"EXEC", "DISCARD", "RESET", "UNWATCH"})
_QUEUED_OUT_OF_SIGHT = frozenset({"SELECT", "UNWATCH"})
"""Commands whose effect on what follows in the same transaction is not followed."""


class RedisClientHalf:
    """Makes a request of each of the client's commands."""

    def __init__(self, session: RedisSession, scripts: Scripts) -> None:
        self._session = session
        self._scripts = scripts
        self._scanner = CommandScanner()
        self._state = ClientState.COMMANDS
        self._number = 0
        self._queued: list[Footprint] = []
        self._watched: list[Footprint] = []

    @property
    def state(self) -> ClientState:
        """How the server will take the next command."""
        return self._state

    def receive(self, data: bytes, events: list[ClientEvent]) -> None:
        """Append the events that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        commands: list[Command] = []
        try:
            self._scanner.receive(data, commands)
        finally:
            # Commands before a broken one are as good as any.
            events.extend(map(self._event, commands))

    def _event(self, command: Command) -> ClientEvent:
        arguments = command.arguments
        if not arguments:
            return Forward(command.data)
        name = command_name(arguments)
        before, symbol = self._state, _symbol(name, arguments)
        self._state = self._following(name, symbol)
        is_queued = before.is_queueing and name not in _AT_ONCE
        database = self._session.database
        footprint = self._footprint(name, arguments, before, is_queued=is_queued)
        self._number += 1
        if name == "SELECT":
            self._select(arguments, is_queued=is_queued)
        return RedisRequest(
            self._number,
            command.data,
            name,
            arguments,
            RedisKind.TRANSACTION if is_queued else kind_of(name),
            _answer(name, symbol, before),
            footprint,
            None if is_queued else block_seconds(name, arguments),
            is_queued,
            database,
        )

    def _following(self, name: str, symbol: str) -> ClientState:
        row = CLIENT_TABLE[self._state]
        following = row.get(symbol)
        if following is None and symbol not in NEVER_OTHER:
            following = row.get(OTHER)
        if following is None:
            reason = REFUSALS.get(name, f"its replies cannot be counted while {self._state}")
            raise Stopped(Refused(name, reason))
        return following

    def _footprint(
        self, name: str, arguments: tuple[bytes, ...], before: ClientState, *, is_queued: bool
    ) -> Footprint:
        if name in _ENDS and not is_queued:
            return self._end(name, before)
        footprint = footprint_of(name, arguments, self._session.database, self._scripts)
        if self._session.unsettled_selects and not footprint.is_empty:
            footprint = UNKNOWN
        if is_queued:
            self._queued.append(UNKNOWN if name in _QUEUED_OUT_OF_SIGHT else footprint)
            return NOTHING
        if name == "WATCH" and not before.is_queueing:
            self._watched.append(footprint)
        return footprint

    def _end(self, name: str, before: ClientState) -> Footprint:
        """End what was queued and watched; EXEC touches all of it."""
        everything = [*self._queued, *self._watched] if before.is_queueing else []
        self._watched.clear()
        self._queued.clear()
        if name == "RESET":
            self._session.database = 0
        return NOTHING.joined(everything) if name == "EXEC" else NOTHING

    def _select(self, arguments: tuple[bytes, ...], *, is_queued: bool) -> None:
        """Follow a change of database; without a reply of its own it stays uncertain for good."""
        self._session.unsettled_selects += 1
        if not is_queued and len(arguments) > 1 and arguments[1].isdigit():
            self._session.database = int(arguments[1])


def _symbol(name: str, arguments: tuple[bytes, ...]) -> str:
    """The command's name in the client's table."""
    words = [argument.upper().decode("utf-8", "backslashreplace") for argument in arguments[:4]]
    symbol = " ".join(words)
    return symbol if name == "CLIENT REPLY" and symbol in _REPLY_MODES else name


_REPLY_MODES = frozenset({REPLY_ON, REPLY_OFF, REPLY_SKIP})


def _answer(name: str, symbol: str, before: ClientState) -> Answer:
    """RESET and CLIENT REPLY ON end a silence before they are answered."""
    if symbol in {"RESET", REPLY_ON}:
        return Answer.ONE
    if before.is_silent or symbol in {REPLY_OFF, REPLY_SKIP}:
        return Answer.NONE
    return Answer.CONFIRMATIONS if name in SUBSCRIPTIONS else Answer.ONE
