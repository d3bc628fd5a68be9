"""Which requests of a connection are taken apart, and where their transactions end."""

from collections.abc import Callable
from typing import Final

from contention.wire.postgres_requests import Execution, PostgresRequest
from contention.wire.postgres_sql import Verb
from contention.wire.request_parts import PlainReply, cut, spelled_out
from contention.wire.statement_reading import is_pool_reset

_ENDING: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK, Verb.PREPARE_TRANSACTION})
_SYNC: Final = "S"
_QUERY: Final = "Q"


class OwnTransactions:
    """The requests that one connection is sent, and those of them that are their own transaction.

    Args:
        ends_apart: whether others may come in between what a statement outside of a transaction
            block did and the end that makes it last.
    """

    def __init__(self, ends_apart: Callable[[Execution], bool]) -> None:
        self._ends_apart = ends_apart
        self._is_inside = False
        self._is_open = False
        self._plain_reply: PlainReply | None = None

    def stands(self, status: str) -> None:
        """The server has answered everything, and says where the connection stands."""
        self._is_inside = status != "I"
        self._is_open = False

    def parts(
        self, request: PostgresRequest, encoding: str, *, is_next: bool
    ) -> tuple[PostgresRequest, ...]:
        """What a request that has come consists of; itself alone when it stays whole.

        Args:
            request: the request.
            encoding: of its texts, as Python calls it.
            is_next: whether every request before it has been answered.
        """
        if request.messages == _QUERY:
            return self._of_query(request, encoding if is_next else "")
        ends = request.messages.endswith(_SYNC)
        self._follow(request)
        is_end_apart = ends and self._is_open
        if ends:
            self._is_open = False
        if len(request.executions) > 1 or is_end_apart:
            return cut(request, is_end_apart=is_end_apart)
        return (request,)

    def told(self, event: object) -> object:
        """What the client is told of the server's answers."""
        if self._plain_reply is None:
            return event
        told = self._plain_reply.told(event)
        if self._plain_reply.is_over:
            self._plain_reply = None
        return told

    def _of_query(self, request: PostgresRequest, encoding: str) -> tuple[PostgresRequest, ...]:
        if is_pool_reset(request):
            return (request,)
        self._follow(request)
        is_end_apart, self._is_open = self._is_open, False
        statements = request.executions[0].statements
        if encoding and (len(statements) > 1 or is_end_apart):
            parts = spelled_out(request, encoding, is_end_apart=is_end_apart)
            if parts:
                self._plain_reply = PlainReply(len(statements))
                return parts
        return (request,)

    def _follow(self, request: PostgresRequest) -> None:
        """Follow where the connection will stand when a request has been run."""
        for execution in request.executions:
            for verb in execution.verbs:
                if verb is Verb.BEGIN:
                    self._is_inside, self._is_open = True, False
                elif verb in _ENDING:
                    self._is_inside = "chain" in (execution.sql or "").lower()
                    self._is_open = False
            is_alone = not self._is_inside and not _ENDING & set(execution.verbs)
            self._is_open |= is_alone and self._ends_apart(execution)
