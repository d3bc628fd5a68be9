"""What a step touched: Redis says it in the command, PostgreSQL in its locks; in doubt, unknown."""

import re
from typing import Final

from contention.model.footprints import NOTHING, UNKNOWN, Footprint, reads, writes
from contention.wire.gate import Lane, Reply, Request
from contention.wire.locks_seen import LockWatcher
from contention.wire.postgres_requests import PostgresReply, PostgresRequest
from contention.wire.postgres_sql import Verb
from contention.wire.redis_requests import RedisRequest

_ENDING: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK})
_COMMITS: Final = "commits"
_SNAPSHOTS: Final = re.compile(r"repeatable\s+read|serializable", re.IGNORECASE)
_PLAIN: Final = re.compile(r"\s*(select|insert|update|delete)\b", re.IGNORECASE)
_CALL: Final = re.compile(r"([a-z_][\w.]*)\s*\(", re.IGNORECASE)
# Words before a parenthesis that are no function, and functions that look at their arguments alone.
_HARMLESS_WORDS: Final = """
    abs all and any array as avg bool_and bool_or by cast coalesce conflict count distinct except
    exists filter from greatest having in insert intersect into is join least length limit lower
    max min not nullif offset on or over returning round row select set some sum then union upper
    using values when where with
    """
_HARMLESS: Final = frozenset(_HARMLESS_WORDS.split())


class FootprintReader:
    """Reads footprints for one run, and remembers what each open transaction has touched."""

    def __init__(self, watcher: LockWatcher) -> None:
        self._watcher = watcher
        self._transactions: dict[str, Footprint] = {}
        self._with_snapshot: set[str] = set()

    def saw(self, lane: Lane, request: Request) -> None:
        """Note what a connection asks of its isolation, whoever lets it pass."""
        if isinstance(request, PostgresRequest) and any(map(_SNAPSHOTS.search, request.texts)):
            self._with_snapshot.add(lane.name)

    def forget(self, lane: Lane) -> None:
        """The connection is gone, and its transaction with it."""
        self._transactions.pop(lane.name, None)

    def ended(self, lane: Lane, request: Request) -> Footprint | None:
        """What a transaction touched that this request ended; `None` when it ended none.

        Asked when the reply comes: the connection may be gone a moment later.
        """
        if not isinstance(request, PostgresRequest) or not set(request.verbs) & _ENDING:
            return None
        whole = self._transactions.pop(lane.name, NOTHING).joined([writes(_COMMITS)])
        return whole if set(request.verbs) <= _ENDING else UNKNOWN

    async def of(self, lane: Lane, request: Request, reply: Reply) -> Footprint:
        """What an answered request touched, when it ended no transaction."""
        if isinstance(request, RedisRequest):
            return request.footprint
        assert isinstance(reply, PostgresReply)  # noqa: S101 - the reply to a PostgresRequest
        if reply.transaction_status not in {"T", "E"} or not is_plain(request):
            if reply.transaction_status in {"T", "E"}:
                self._transactions[lane.name] = UNKNOWN
            return UNKNOWN
        return await self.so_far(lane)

    async def so_far(self, lane: Lane) -> Footprint:
        """What a connection's open transaction has touched, what it waits for included."""
        if lane.process_id is None or self._watcher.sees_hidden_code:
            return UNKNOWN
        touched = await self._watcher.touched(lane.process_id)
        if lane.name in self._with_snapshot:
            touched = touched.joined([reads(_COMMITS)])
        whole = touched.joined([self._transactions.get(lane.name, NOTHING)])
        self._transactions[lane.name] = whole
        return whole


def is_plain(request: PostgresRequest) -> bool:
    """Whether its locks on tables say all: ordinary statements that call no function of weight."""
    return all(
        execution.sql is not None
        and _PLAIN.match(execution.sql) is not None
        and all(name.lower() in _HARMLESS for name in _CALL.findall(_without_table(execution.sql)))
        for execution in request.executions
    )


def _without_table(sql: str) -> str:
    """The statement without the name of an INSERT's table, whose columns stand in parentheses."""
    return re.sub(r"(?i)\binto\s+[\w.\"]+", "into", sql)
