"""A connection on which the kit can ask whether all that the server has sent has come.

What comes on one connection comes in order. So the kit asks the server for something of no
consequence on the worker's own connection, in the worker's place: PostgreSQL for a ReadyForQuery
(Sync), Redis for a PONG. By the time the answer comes, whatever the server had to say before has
come. PostgreSQL signals those who listen before it answers the COMMIT that notifies them, and sends
what it has for them before a ReadyForQuery outside of a transaction (``PostgresMain``); Redis
queues a message for its subscribers before it answers PUBLISH. The worker is not shown the answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from contention.model.footprints import NOTHING
from contention.wire.events import ReplyEnd, ReplyPart
from contention.wire.lane import Lane, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_lifecycle import ReplyState
from contention.wire.postgres_requests import Expectation, PostgresRequest, RequestKind
from contention.wire.redis_commands import RedisKind
from contention.wire.redis_lifecycle import ClientState
from contention.wire.redis_requests import Answer, RedisRequest

_ASIDE: Final = 0
"""The number of the kit's own question; those of the worker's begin with 1."""
_SYNC: Final = PostgresRequest(
    _ASIDE, b"S\0\0\0\x04", "S", RequestKind.PREPARATION, (), (), (Expectation(ReplyState.SYNC),)
)
_READY_SIZE: Final = 6
"""Of a ReadyForQuery, in bytes."""
_PING: Final = RedisRequest(
    _ASIDE,
    b"*1\r\n$4\r\nPING\r\n",
    "PING",
    (b"PING",),
    RedisKind.CONNECTION,
    Answer.ONE,
    NOTHING,
    None,
    is_queued=False,
    database=0,
)


class ListeningLane(Lane):
    """A connection of a worker, who may be sent messages on it."""

    _asking: "asyncio.Future[bool] | None" = None

    @property
    def held(self) -> Request | None:
        """As every lane's; nothing that a client has left behind."""
        return super().held if self._is_open else None

    def ask_aside(self) -> "asyncio.Future[bool]":
        """Ask whether all has come that the server had sent by now.

        Returns:
            done with `True` as soon as it has, with `False` when that will not be known.
        """
        if self._asking is not None and not self._asking.done():
            return self._asking
        asking = self._asking = asyncio.get_running_loop().create_future()
        if self._may_ask():
            self._ask()
        else:
            asking.set_result(False)
        return asking

    def _may_ask(self) -> bool:
        """Whether the server has nothing to do, and would take the question for one of its own."""
        if not self._is_open or self._server is None or self._awaited:
            return False
        framing = self.framing
        if isinstance(framing, PostgresFraming):
            is_ready = self.process_id is not None and not self.awaits_sync
            return is_ready and framing.is_server_at_rest
        return framing.client_state is ClientState.COMMANDS and not framing.is_awaiting_reply

    def _ask(self) -> None:
        framing = self.framing
        # The framing counts the worker's requests, and this is none of them.
        if isinstance(framing, PostgresFraming):
            framing._to_client.release(_SYNC)  # noqa: SLF001 - see above
            self._write(self._server, _SYNC.data)
        else:
            framing._to_client.release(_PING)  # noqa: SLF001 - see above
            self._write(self._server, _PING.data)

    def _told(self, events: Sequence[object]) -> None:
        super()._told(events if self._asking is None else [*map(self._without_answer, events)])

    def _without_answer(self, event: object) -> object:
        """An event, or of the answer to the kit's question what is none of it."""
        if not isinstance(event, ReplyEnd) or event.number != _ASIDE:
            return event
        self._answered(has_come=not event.reply.is_lost)
        is_postgres = isinstance(self.framing, PostgresFraming)
        # Notifications that come with a ReadyForQuery are told with it.
        return ReplyPart(_ASIDE, event.data[:-_READY_SIZE] if is_postgres else b"")

    def _gone(self) -> None:
        super()._gone()
        self._answered(has_come=False)

    def _answered(self, *, has_come: bool) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.set_result(has_come)
