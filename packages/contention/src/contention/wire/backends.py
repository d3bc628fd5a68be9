"""Backends of PostgreSQL that serve one connection after another.

Opening a backend costs PostgreSQL milliseconds, a worker opens at least one in every run, and a
search has thousands of runs. So a backend whose connection has ended is rolled back, stripped of
all that its session left, and kept for the next connection that opens with the same words; that one
is told what the server answered to them. Only log-ins that the server trusts are kept, and only
sessions that leave nothing behind that ``DISCARD ALL`` leaves too.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from contention.wire.postgres_messages import HEADER_SIZE, LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contention.wire.lane import Lane

_TRUSTED: Final = b"R\0\0\0\x08\0\0\0\0"
"""AuthenticationOk: first of all, when the server asks for nothing."""
_SYNC: Final = b"S\0\0\0\x04"
_MOST_IDLE: Final = 16
_KEPT_TEXTS: Final = 256
"""Every run of a search asks the same."""
_LEAVES_TRACES: Final = re.compile(
    r"""
    set_config | setseed | dblink | \bload\b | plpython | plperl | pltcl
    | \bset \s+ (local\s+|session\s+)? "? \w+ "? \s* \.          # a setting that nobody defined
    | track_counts
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CHANGES_BEGINNINGS: Final = re.compile(
    r"pg_reload_conf|\b(alter|create|drop)\s+(role|user|database|system|extension|language)\b",
    re.IGNORECASE,
)
"""What new sessions begin with is no more what kept ones began with."""


class _State(Enum):
    SERVING = auto()
    RESETTING = auto()
    IDLE = auto()
    GONE = auto()


class Backend(asyncio.Protocol):
    """The server's side of a connection, while it serves and between two that it serves.

    Attributes:
        packet: the StartupMessage that it was opened with; empty until known.
        greeting: what the server answered to it; empty until it is ready.
        process_id: of the server's process; 0 until known.
    """

    def __init__(self, lane: "Lane") -> None:
        self.packet = b""
        self.greeting = b""
        self.process_id = 0
        self._lane: Lane | None = lane
        self._state = _State.SERVING
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._awaited = 0
        self._when_reset: Callable[[bool], object] = bool

    @property
    def is_idle(self) -> bool:
        """Whether it can serve somebody."""
        return self._state is _State.IDLE

    def serve(self, lane: "Lane") -> None:
        """Serve another connection from now on."""
        assert self._transport is not None  # noqa: S101 - it has served before
        self._lane, self._state = lane, _State.SERVING
        lane.server_taken_over(self._transport, self.greeting)

    def reset(
        self,
        *,
        is_in_transaction: bool,
        awaits_sync: bool,
        is_skipping: bool,
        when_reset: Callable[[bool], None],
    ) -> None:
        """Undo everything of the session; then say whether that is done, or the backend gone.

        Args:
            is_in_transaction: whether one is open.
            awaits_sync: whether a Sync is still to come, at which the server would make last what
                it has done.
            is_skipping: whether it heeds nothing before that.
            when_reset: told whether it worked.
        """
        assert self._transport is not None  # noqa: S101 - it has served
        self._lane, self._state = None, _State.RESETTING
        self._when_reset = when_reset
        messages = [_ROLLBACK] if awaits_sync and not is_skipping else []
        messages += [_SYNC] if awaits_sync else []
        messages += [_ROLLBACK] if is_in_transaction else []
        messages += [_query("DISCARD ALL"), _query("SELECT pg_stat_force_next_flush()")]
        self._awaited = len(messages)
        self._transport.write(b"".join(messages))

    def end(self) -> None:
        """Close the connection to the server."""
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server accepted."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._transport = transport
        if self._lane is not None:
            self._lane.server_connected(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the server: for the connection that it serves, or about the resetting."""
        if self._lane is not None:
            self._lane.from_server(data)
        elif self._state is _State.RESETTING:
            self._read_reset(data)
        elif self._state is _State.IDLE:
            self.end()  # it has something to say that nobody asked for

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        """The server closed."""
        lane, self._lane = self._lane, None
        self._gone()
        if lane is not None:
            lane.server_lost()

    def _gone(self) -> None:
        was_resetting = self._state is _State.RESETTING
        self._state = _State.GONE
        if was_resetting:
            self._when_reset(False)  # noqa: FBT003 - whether it worked

    def _read_reset(self, data: bytes) -> None:
        self._unread += data
        while len(self._unread) >= HEADER_SIZE:
            end = 1 + LENGTH.unpack_from(self._unread, 1)[0]
            if len(self._unread) < end:
                return
            letter, self._unread = self._unread[:1], self._unread[end:]
            if letter == b"E":
                self.end()
                return
            if letter == b"Z":
                self._awaited -= 1
        if not self._awaited:
            self._state = _State.IDLE
            self._when_reset(True)  # noqa: FBT003 - whether it worked


class Backends:
    """Idle backends of one server, by the words that opened them.

    Args:
        when_outdated: called when new sessions may begin with something else from now on.
    """

    def __init__(self, when_outdated: Callable[[], object] = lambda: None) -> None:
        self.is_enabled = True
        self._when_outdated = when_outdated
        self._idle: dict[bytes, list[Backend]] = {}
        self._spoilt: set[int] = set()
        self._traced: set[Backend] = set()

    @property
    def process_ids(self) -> list[int]:
        """Of those that are idle."""
        return [backend.process_id for backend in self._all()]

    def take(self, packet: bytes) -> Backend | None:
        """An idle backend that was opened with these words; `None` when there is none."""
        waiting = self._idle.get(packet, [])
        while waiting:
            backend = waiting.pop()
            if backend.is_idle:
                return backend
        return None

    def spoil(self, process_id: int) -> None:
        """Never keep this one: a CancelRequest is on its way to it and may come late."""
        self._spoilt.add(process_id)
        for backend in self._all():
            if backend.process_id == process_id:
                backend.end()

    def heard(self, backend: Backend, texts: Iterable[str]) -> None:
        """Note SQL that leaves something behind; see the module."""
        if any(map(_leaves_traces, texts)):
            self._traced.add(backend)
        if any(map(_changes_beginnings, texts)):
            self._traced.add(backend)
            self.close()
            self._when_outdated()

    def retire(self, backend: Backend, lane: "Lane") -> bool:
        """Keep the backend of a connection that ends, if it can be; else nothing is done.

        The lane is told when the session has left nothing, or when the backend is gone.
        """
        greeting, packet = bytes(lane.greeting), lane.start_up_packet
        if (
            not self.is_enabled
            or lane.process_id in self._spoilt
            or backend in self._traced
            or not greeting.startswith(_TRUSTED)
            or b"\0replication\0" in packet
        ):
            self._traced.discard(backend)
            return False
        backend.packet, backend.greeting = packet, greeting
        backend.process_id = lane.process_id or 0

        def when_reset(is_done: bool) -> None:  # noqa: FBT001 - a callback
            if is_done:
                self._keep(backend)
            lane.server_retired(has_let_go=is_done)

        status = lane.transaction_status
        backend.reset(
            is_in_transaction=status != "I",
            awaits_sync=lane.awaits_sync,
            is_skipping=lane.is_skipping,
            when_reset=when_reset,
        )
        return True

    def close(self) -> None:
        """End all that are idle."""
        for backend in list(self._all()):
            backend.end()
        self._idle.clear()

    def _keep(self, backend: Backend) -> None:
        if not self.is_enabled or len(self.process_ids) >= _MOST_IDLE:
            backend.end()
        else:
            self._idle.setdefault(backend.packet, []).append(backend)

    def _all(self) -> "Iterator[Backend]":
        for waiting in self._idle.values():
            yield from (backend for backend in waiting if backend.is_idle)


@lru_cache(maxsize=_KEPT_TEXTS)
def _leaves_traces(text: str) -> bool:
    return _LEAVES_TRACES.search(text) is not None


@lru_cache(maxsize=_KEPT_TEXTS)
def _changes_beginnings(text: str) -> bool:
    return _CHANGES_BEGINNINGS.search(text) is not None


def _query(sql: str) -> bytes:
    body = sql.encode() + b"\0"
    return b"Q" + LENGTH.pack(LENGTH.size + len(body)) + body


_ROLLBACK: Final = _query("ROLLBACK")
