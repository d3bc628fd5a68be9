"""What a step touched: Redis says it in the command, PostgreSQL by plans and locks.

In doubt it is unknown. Of a statement that locks or changes the one row that a unique key names,
the row is told; of others the tables. A statement's plan is asked for once; where it does not tell
all, as with triggers, the locks on tables that its transaction holds after it do.
"""

from dataclasses import dataclass, field
from typing import Final

from contention.model.footprints import NOTHING, UNKNOWN, Footprint, reads
from contention.wire.advisory_locks import (
    AdvisoryCall,
    SessionLocks,
    is_advisory_call,
    mentions_advisory_locks,
    read_call,
)
from contention.wire.gate import Lane, Reply, Request
from contention.wire.lane_settings import LaneSettings
from contention.wire.lessons import Lessons
from contention.wire.locks_seen import LockWatcher
from contention.wire.own_ends import OwnEnds
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import Execution, PostgresReply, PostgresRequest, RequestKind
from contention.wire.postgres_sql import Verb, split_statements
from contention.wire.redis_requests import RedisRequest
from contention.wire.sql_words import (
    defines_nothing,
    is_shown,
    takes_snapshot,
)
from contention.wire.statement_reading import (
    UNREADABLE,
    Reading,
    is_pool_reset,
    rows_told,
    single_execution,
)
from contention.wire.transactions import COMMITS, SERIALIZABLE, Transaction, loosened

_ENDING: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK})
_LOOKING_KINDS: Final = frozenset({RequestKind.PREPARATION, RequestKind.INTROSPECTION})
_OF_NO_WEIGHT: Final = frozenset({Verb.SET, Verb.INTROSPECTION, Verb.SAVEPOINT, Verb.RELEASE})
_IDLE: Final = "I"
_OPEN: Final = "T"
_NOT_TOLD: Final = None
"""A part of a request that goes on: its transaction does too."""
_ALREADY_FAILED: Final = "25P02"
_ENDED_BY_SERVER: Final = frozenset({"40P01", "57014"})
"""A deadlock; a cancelled statement."""


@dataclass(slots=True)
class _Known:
    """What is known of one connection.

    Attributes:
        transaction: the open one; `None` without one that has done anything.
        asked: what its waiting statement wants; `None` while none waits.
        is_expiring: whether a limit of time is about to end its wait.
        looking: numbers of requests that fix a transaction's snapshot before it does anything.
        is_untouched: whether the open transaction has been asked for nothing of weight.
        empty_ends: numbers of requests that end such a one.
    """

    settings: LaneSettings
    transaction: Transaction | None = None
    session: SessionLocks = field(default_factory=SessionLocks)
    asked: Footprint | None = None
    is_expiring: bool = False
    looking: set[int] = field(default_factory=set)
    is_untouched: bool = False
    empty_ends: set[int] = field(default_factory=set)


class FootprintReader:
    """Reads footprints for one run, and remembers what each open transaction has touched.

    Args:
        watcher: looks into the run's database.
        lessons: what is known of the workers, and is told what their statements hang on.
        limits_fire: whether waits may end by a limit of time while others go on.
    """

    def __init__(
        self, watcher: LockWatcher, lessons: Lessons | None = None, *, limits_fire: bool = True
    ) -> None:
        self._limits_fire = limits_fire
        self._watcher = watcher
        self._ends = OwnEnds(watcher.catalogue, lessons or Lessons())
        self._lanes: dict[str, _Known] = {}
        self._left: list[Footprint] = []
        self._is_redefined = False

    # --- what passes ---------------------------------------------------------------------------

    def saw(self, lane: Lane, request: Request) -> None:
        """Note what a connection sets for itself, whoever lets the request pass."""
        if not isinstance(request, PostgresRequest):
            return
        known = self._known(lane)
        known.settings.take(request)
        may_look = request.kind in _LOOKING_KINDS and known.settings.has_snapshots
        has_looked = known.transaction is not None and known.transaction.has_looked
        if may_look and not has_looked and _is_inside(lane):
            known.looking.add(request.number)
        _note_block(known, request)

    def ends_nothing(self, lane: Lane, request: Request) -> bool:
        """Whether a request ends a transaction that was asked for nothing of weight.

        Such a one is what a driver leaves behind that has asked about the server.
        """
        return request.number in self._known(lane).empty_ends

    def ends_apart(self, lane: Lane, execution: Execution) -> bool:
        """Whether a statement outside of a transaction block ends in a step of its own."""
        return self._ends.are_apart(execution, is_plain=self._is_plain(self._known(lane)))

    def _is_plain(self, known: _Known) -> bool:
        """Whether texts mean what the kit takes them to mean."""
        is_read = not (self._watcher.catalogue.is_opaque or self._is_redefined)
        return is_read and known.settings.is_usual

    def is_looking(self, lane: Lane, request: Request) -> bool:
        """Whether a request that runs nothing of weight fixes what its transaction sees.

        Parsing looks at the database, and where one snapshot serves the whole transaction, the
        first look takes it.
        """
        return request.number in self._known(lane).looking

    def passed(self, lane: Lane, request: Request, reply: Reply) -> None:
        """Note the reply to a request that is no step: its failure ends a transaction too."""
        if (
            isinstance(reply, PostgresReply)
            and isinstance(request, PostgresRequest)
            and reply.error
        ):
            self._left.append(self._given_up(self._known(lane)))

    def forget(self, lane: Lane) -> None:
        """The connection is gone, and with it its transaction and all that it held."""
        known = self._lanes.get(lane.name)
        if known is None:
            return
        # Its last request may still have to be told, and ran under what the connection had set.
        self._lanes[lane.name] = _Known(known.settings)
        if known.transaction is not None:
            self._left.append(known.transaction.end(is_commit=False))
        if known.asked is not None:
            self._left.append(loosened(known.asked))
        self._left.append(known.session.end())

    def left_behind(self) -> Footprint:
        """What has been let go outside of any step's own request since this was last asked."""
        left, self._left = self._left, []
        return NOTHING.joined(left)

    # --- what is answered or waits -------------------------------------------------------------

    def ended(self, lane: Lane, request: Request) -> Footprint | None:
        """What a transaction touched that this request ended; `None` when it ended none.

        Asked when the reply comes: the connection may be gone a moment later.
        """
        if not isinstance(request, PostgresRequest) or not set(request.verbs) & _ENDING:
            return None
        known = self._known(lane)
        transaction, known.transaction = known.transaction, None
        was_redefined = self._is_redefined
        if not set(request.verbs) <= _ENDING:
            self._note_hidden(known, request)
            return UNKNOWN
        if transaction is None:
            return NOTHING
        if was_redefined:
            return UNKNOWN
        end = known.session.kept_from(transaction.end(is_commit=Verb.COMMIT in request.verbs))
        return end.joined([SERIALIZABLE]) if known.settings.is_serializable else end

    async def of(self, lane: Lane, request: Request, reply: Reply) -> Footprint:
        """What an answered request touched, when it ended no transaction."""
        if isinstance(request, RedisRequest):
            return request.footprint
        assert isinstance(reply, PostgresReply)  # noqa: S101 - the reply to a PostgresRequest
        known = self._known(lane)
        touched = await self._of_reply(lane, known, request, reply)
        return touched.in_time() if self._has_limits(known) else touched

    async def _of_reply(
        self, lane: Lane, known: _Known, request: PostgresRequest, reply: PostgresReply
    ) -> Footprint:
        asked, known.asked = known.asked, None
        has_waited = asked is not None
        reading = await self._read(lane, known, request)
        is_expiring, known.is_expiring = known.is_expiring, False
        if is_expiring and reply.error is not None:
            return self._of_expired(known, reply, asked or UNKNOWN)
        if reply.error is not None:
            return self._of_failed(known, reading, reply, has_waited=has_waited)
        if reply.transaction_status == _IDLE:
            touched = _of_alone(known, request, reply, reading, has_waited=has_waited)
            return touched.joined([_before(known, request)])
        transaction = known.transaction = known.transaction or Transaction()
        if request.verbs == (Verb.ROLLBACK_TO,):
            return transaction.take_back_part()
        touched = await self._of_inside(lane, request, reply, reading, has_waited=has_waited)
        if lane.is_open:
            return touched
        del self._lanes[lane.name]
        return touched.joined([transaction.end(is_commit=False)])

    async def so_far(self, lane: Lane, request: Request) -> Footprint:
        """What a request that waits has touched so far, what it waits for included."""
        if not isinstance(request, PostgresRequest):
            return UNKNOWN
        known = self._known(lane)
        transaction = known.transaction or Transaction()
        reading = await self._read(lane, known, request)
        if reading.call is not None:
            touched = known.session.waiting(reading.call)
        else:
            touched = reading.of_waiting(transaction) or await self._shown(lane, reading)
        known.asked = _isolated(known.settings, transaction, touched)
        if self._has_limits(known):
            known.asked = known.asked.in_time()
        return known.asked

    def expires(self, lane: Lane) -> None:
        """Note that a limit of time is about to end a lane's wait."""
        self._known(lane).is_expiring = True

    def _has_limits(self, known: _Known) -> bool:
        return self._limits_fire and known.settings.has_limits

    async def _of_inside(
        self,
        lane: Lane,
        request: PostgresRequest,
        reply: PostgresReply,
        reading: Reading,
        *,
        has_waited: bool,
    ) -> Footprint:
        """What a request touched whose transaction goes on; the transaction remembers it."""
        known = self._known(lane)
        transaction = known.transaction = known.transaction or Transaction()
        if request.kind in _LOOKING_KINDS:
            touched = await self._shown(lane, Reading(is_shown=True))
        elif reply.transaction_status not in {_OPEN, _NOT_TOLD}:
            touched = UNKNOWN
        elif reading.call is not None:
            touched = _called(known, transaction, reading.call, has_waited=has_waited)
        else:
            rows = rows_told(reply)
            told = reading.of_answered(transaction, rows, has_waited=has_waited)
            touched = told or await self._shown(lane, reading)
        touched = _isolated(known.settings, transaction, touched)
        if reading.call is None or not reading.call.is_of_session:
            transaction.add(touched)
        transaction.has_looked |= any(map(takes_snapshot, request.texts))
        return touched

    def _of_failed(
        self, known: _Known, reading: Reading, reply: PostgresReply, *, has_waited: bool
    ) -> Footprint:
        """What a request touched that was refused, and its transaction with it."""
        sqlstate = reply.error.sqlstate if reply.error else ""
        if sqlstate == _ALREADY_FAILED:
            return NOTHING
        is_certain = not has_waited and sqlstate not in _ENDED_BY_SERVER
        touched = reading.tables if is_certain else None
        was_open = known.transaction is not None
        given_up = self._given_up(known)
        if touched is None or reply.is_lost or (reply.transaction_status == _IDLE and was_open):
            return UNKNOWN
        if known.transaction is not None:
            known.transaction.add(touched)
        touched = touched.joined([given_up])
        return touched.joined([SERIALIZABLE]) if known.settings.is_serializable else touched

    def _of_expired(self, known: _Known, reply: PostgresReply, asked: Footprint) -> Footprint:
        """What a wait touched that a limit has ended, and its transaction with it.

        One that waits may have to be waited for: that others find what it lets go depends on whose
        turn came first, as no end of a transaction does.
        """
        was_open = known.transaction is not None
        given_up = loosened(self._given_up(known))
        is_over = reply.transaction_status == _IDLE and was_open
        if known.session.may_have_some or is_over or reply.is_lost:
            return UNKNOWN
        touched = asked.joined([given_up])
        return touched.joined([SERIALIZABLE]) if known.settings.is_serializable else touched

    def _given_up(self, known: _Known) -> Footprint:
        """What the failure of a request in a transaction lets go, itself apart."""
        transaction = known.transaction
        if transaction is None:
            return NOTHING
        if known.settings.has_savepoints:
            return transaction.take_back_part()
        known.transaction = None
        return known.session.kept_from(transaction.end(is_commit=False))

    # --- what can be known of a request ---------------------------------------------------------

    async def _read(self, lane: Lane, known: _Known, request: PostgresRequest) -> Reading:
        reading = await self._reading(lane, known, request)
        has_other_ways = known.settings.has_snapshots or self._has_limits(known)
        self._ends.see(
            request, reading, is_plain=self._is_plain(known), has_other_ways=has_other_ways
        )
        return reading

    async def _reading(self, lane: Lane, known: _Known, request: PostgresRequest) -> Reading:
        catalogue = self._watcher.catalogue
        is_unreadable = catalogue.is_opaque or self._is_redefined
        self._note_hidden(known, request)
        if is_unreadable or any(one.sql is None for one in request.executions):
            return UNREADABLE
        shown = Reading(is_shown=all(is_shown(text, catalogue.shown) for text in _texts(request)))
        execution = single_execution(request)
        if execution is None or execution.sql is None or not known.settings.is_usual:
            return shown if _has_usual_strings(lane) else UNREADABLE
        sql, portal = execution.sql, execution.portal
        is_call = is_advisory_call(sql, catalogue.harmless)
        if not is_call and not shown.is_shown:
            return UNREADABLE
        shape = await self._watcher.shape(sql, portal.statement.type_oids if portal else ())
        parameters = execution.parameters()
        if is_call:
            call = read_call(shape.output, parameters) if shape else None
            known.session.is_hidden |= call is None
            return Reading(call=call)
        may_acquire = catalogue.has_usual_settings and not known.settings.has_snapshots
        return Reading(is_shown=True, shape=shape, parameters=parameters, may_acquire=may_acquire)

    def _note_hidden(self, known: _Known, request: PostgresRequest) -> None:
        """Note what a request may do for good that nobody will see."""
        catalogue = self._watcher.catalogue
        for text in _texts(request):
            self._is_redefined |= not defines_nothing(text, catalogue.known)
            is_read = is_advisory_call(text, catalogue.harmless) and len(request.executions) == 1
            if mentions_advisory_locks(text) and not is_read and not is_pool_reset(request):
                known.session.is_hidden = True
        self._is_redefined |= any(one.sql is None for one in request.executions)

    async def _shown(self, lane: Lane, reading: Reading) -> Footprint:
        """What the locks of a connection's transaction say, all of it."""
        if not reading.is_shown or not lane.is_open or lane.process_id is None:
            return UNKNOWN
        return await self._watcher.touched(lane.process_id)

    def _known(self, lane: Lane) -> _Known:
        if lane.name not in self._lanes:
            catalogue = self._watcher.catalogue
            settings = LaneSettings()
            settings.start(lane.start_up, catalogue.user, catalogue.isolation)
            settings.has_limits |= catalogue.may_limit_waits
            self._lanes[lane.name] = _Known(settings)
        return self._lanes[lane.name]


def _of_alone(
    known: _Known,
    request: PostgresRequest,
    reply: PostgresReply,
    reading: Reading,
    *,
    has_waited: bool,
) -> Footprint:
    """What a request touched that was a transaction of its own."""
    if is_pool_reset(request):
        return known.session.end()
    if known.settings.has_snapshots:
        return UNKNOWN
    if reading.call is not None:
        transaction = Transaction()
        touched = _called(known, transaction, reading.call, has_waited=has_waited)
        if not reading.call.is_of_session:
            transaction.add(touched)
        return touched.joined([known.session.kept_from(transaction.end(is_commit=False))])
    return reading.of_alone(rows_told(reply), has_waited=has_waited) or UNKNOWN


def _note_block(known: _Known, request: PostgresRequest) -> None:
    verbs = set(request.verbs)
    texts = request.prepared if not verbs else ()
    verbs |= {statement.verb for text in texts for statement in split_statements(text)}
    if verbs == {Verb.BEGIN}:
        known.is_untouched = True
    elif not verbs <= _OF_NO_WEIGHT:
        if known.is_untouched and len(request.verbs) == 1 and verbs <= _ENDING:
            known.empty_ends.add(request.number)
        known.is_untouched = False


def _before(known: _Known, request: PostgresRequest) -> Footprint:
    """What the end of a transaction touched that a request was not expected to end."""
    before, known.transaction = known.transaction, None
    if before is None:
        return NOTHING
    # The last part of a request that only looks; others do not end a transaction in passing.
    return before.end(is_commit=True) if request.follows else UNKNOWN


def _called(
    known: _Known, transaction: Transaction, call: AdvisoryCall, *, has_waited: bool
) -> Footprint:
    touched = known.session.call(call, frozenset(transaction.held), has_waited=has_waited)
    if call.waits_for_one and not call.is_of_session:
        transaction.held.add(call.lock)
    return touched


def _isolated(settings: LaneSettings, transaction: Transaction, touched: Footprint) -> Footprint:
    """The same with what a transaction's isolation looks at."""
    if settings.has_snapshots and not transaction.has_looked:
        touched = touched.joined([reads(COMMITS)])
    return touched.joined([SERIALIZABLE]) if settings.is_serializable else touched


def _texts(request: PostgresRequest) -> list[str]:
    return [statement.text for one in request.executions for statement in one.statements]


def _is_inside(lane: Lane) -> bool:
    return isinstance(lane.framing, PostgresFraming) and lane.framing.transaction_status == _OPEN


def _has_usual_strings(lane: Lane) -> bool:
    """Whether a backslash in a quoted string is nothing special to a connection."""
    if not isinstance(lane.framing, PostgresFraming):
        return False
    return lane.framing.parameters.get("standard_conforming_strings") == "on"
