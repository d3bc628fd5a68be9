"""Waits with a time limit of their own: that one fires is a choice, as long as the wait lasts.

It is carried out on the real server, and no time is slept for: Redis ends a blocking command as its
time-out would (``CLIENT UNBLOCK``); PostgreSQL cancels the statement, and the worker is told what
the server says when that limit fires. Of two limits the one that began later may fire first only
if it is shorter: how much time lies between two beginnings is anybody's guess, and it may be none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from contention.model.schedules import EXPIRE
from contention.wire.actors import text_of
from contention.wire.blocking import Wait
from contention.wire.gate import Lane, Reply, Request
from contention.wire.leases import Leases, Moment
from contention.wire.limit_words import learned_from
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_messages import python_encoding
from contention.wire.postgres_requests import PostgresReply
from contention.wire.redis_clients import RedisClients
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.rewording import LimitWords, Reworded
from contention.wire.servers import PostgresServer
from contention.wire.time_limits import LOCK, STATEMENT, TimeLimits

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

MOST_EXPIRIES: Final = 32
"""So many in one run; a program that tries again for ever would never end."""

_ENDED_BY_LIMIT: Final = frozenset({"55P03", "57014"})


class Vocabulary:
    """What a server says when it ends a wait; asked for once, when it is first needed.

    Args:
        server: a database of it that is no run's.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._words: LimitWords | None = None

    async def words(self) -> LimitWords:
        """The server's own words."""
        if self._words is None:
            self._words = await learned_from(self._server)
        return self._words


@dataclass(frozen=True, slots=True)
class Timer:
    """A time limit that runs while a request waits.

    Attributes:
        request: that ends with it.
        name: of the setting, or of the command.
        since: the number of the choice after which it began.
        moment: what of the leases' time had passed by then.
        client_id: Redis's own number of the connection; 0 for PostgreSQL.
    """

    lane: Lane
    request: Request
    name: str
    seconds: float
    since: int
    moment: Moment | None = None
    client_id: int = 0

    @property
    def option(self) -> str:
        """The choice that it fires, as in ``expire w1/2 lock_timeout``."""
        setting = "" if self.client_id else f" {self.name}"
        return f"{EXPIRE}{self.lane.name}{setting}"

    @property
    def told(self) -> str:
        """That it fires, for people."""
        return f"the time limit of {self.lane.worker} fires: {self.name} of {self.seconds:g} s"

    def fires_before(self, other: "Timer") -> bool:
        """Whether another cannot fire while this one runs."""
        if self.seconds > other.seconds or self.since > other.since:
            return False
        if self.since < other.since:
            return True
        is_sooner = self.seconds < other.seconds or self.name == STATEMENT
        return self.lane is other.lane and self.name != other.name and is_sooner


@dataclass(frozen=True, slots=True)
class _Waited:
    """How long a lane's request has waited.

    Attributes:
        number: the request's.
        began_at: when the wait for the lock at hand began, by the server's clock.
        since: the choice after which the request began to wait.
        lock_since: the choice after which it began to wait for the lock at hand.
    """

    number: int
    began_at: float
    since: int
    lock_since: int
    moment: Moment | None
    lock_moment: Moment | None


class Expiries:
    """The time limits that run in one run.

    Args:
        limits: what the connections to PostgreSQL have set.
        clients: looks into Redis.
        connection: looks into PostgreSQL.
        vocabulary: what PostgreSQL says.
        leases: the keys that may run out first, if there are any.
        now: the number of choices so far.

    Attributes:
        unclear: lanes whose wait may end by itself, though nobody can say by which limit.
    """

    def __init__(
        self,
        limits: TimeLimits,
        clients: RedisClients,
        connection: "Connection",
        vocabulary: Vocabulary,
        *,
        leases: Callable[[], Leases | None],
        now: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._clients = clients
        self._connection = connection
        self._vocabulary = vocabulary
        self._leases = leases
        self._now = now
        self._timers: dict[str, Timer] = {}
        self._waited: dict[str, _Waited] = {}
        self._deadlock_seconds: dict[str, float] = {}
        self._fired: set[tuple[str, int]] = set()
        self._were_unclear: set[tuple[str, int]] = set()
        self.unclear: list[Lane] = []

    @property
    def cut_reason(self) -> str:
        """What was left out, as a sentence; empty while nothing was."""
        if len(self._fired) < MOST_EXPIRIES:
            return ""
        return f"more than {MOST_EXPIRIES} time limits that fire in one run"

    @property
    def are_running(self) -> bool:
        """Whether somebody waits under a limit that is known."""
        return bool(self._timers)

    def options(self, circle: Sequence[str] = ()) -> list[str]:
        """The limits that may fire now.

        Args:
            circle: lanes that wait for one another; a limit can end that only if it is shorter than
                the time after which the server does.
        """
        if len(self._fired) >= MOST_EXPIRIES:
            return []
        return sorted(
            timer.option
            for timer in self._timers.values()
            if self._may_fire(timer)
            and (timer.lane.name not in circle or self._breaks_a_circle(timer))
        )

    def breaks(self, circle: Sequence[str]) -> bool:
        """Whether a limit ends the wait of one of these lanes before the server does."""
        options = self.options(circle)
        return any(self._timers[option].lane.name in circle for option in options)

    def timer(self, option: str) -> Timer:
        """Behind an option."""
        return self._timers[option]

    def seconds_of(self, worker: str) -> float:
        """The shortest limit of a worker's wait that the servers know; endless without one."""
        timers = self._timers.values()
        own = [one.seconds for one in timers if one.lane.worker == worker]
        return min(own, default=math.inf)

    def look(self, waiting: Sequence[Lane], waits: Mapping[str, Wait]) -> None:
        """Take down which limits run, now that everybody rests.

        Args:
            waiting: everybody who waits.
            waits: those of PostgreSQL, by lane.
        """
        self.unclear = []
        self._waited = {lane.name: self._waited_by(lane, waits) for lane in waiting}
        self._deadlock_seconds = {
            name: wait.deadlock_timeout_ms / 1000 for name, wait in waits.items()
        }
        ids = self._clients.ids_of([lane for lane in waiting if lane.process_id is None])
        timers = [
            timer
            for lane in waiting
            for timer in (
                self._of_redis(lane, ids.get(lane.name, 0))
                if lane.process_id is None
                else self._of_postgres(lane)
            )
        ]
        self._timers = {timer.option: timer for timer in timers}
        self._were_unclear.update((lane.name, lane.awaited[0].number) for lane in self.unclear)

    async def fire(self, timer: Timer) -> None:
        """Let a limit fire on the server; its lane is answered in consequence.

        Raises:
            LookupError: the server knows of no such wait.
        """
        self._fired.add((timer.lane.name, timer.request.number))
        if timer.client_id:
            is_done = await self._clients.unblock(timer.client_id)
        else:
            words = await self._vocabulary.words()
            timer.lane.reword(Reworded(words, timer.name, _encoding(timer.lane)))
            is_done = await self._connection.fetchval(
                "SELECT pg_cancel_backend($1)", timer.lane.process_id
            )
        if not is_done:
            raise LookupError(f"{timer.lane.name} does not wait any more: {text_of(timer.request)}")

    def is_unclear(self, lane: Lane, request: Request) -> bool:
        """Whether nobody could say under which limit a request has waited."""
        is_known = lane.process_id is None or self._limits.of(lane) is not None
        return not is_known or (lane.name, request.number) in self._were_unclear

    async def fired_by_itself(self, lane: Lane, request: Request, reply: Reply) -> str:
        """The limit that ended a request by the real clock; empty when none did."""
        if (lane.name, request.number) in self._fired:
            return ""
        if isinstance(request, RedisRequest) and isinstance(reply, RedisReply):
            has_ended = bool(request.block_seconds) and (reply.text, reply.error) == ("nil", None)
            return request.name if has_ended else ""
        error = reply.error if isinstance(reply, PostgresReply) else None
        if error is None or error.sqlstate not in _ENDED_BY_LIMIT:
            return ""
        limits = self._limits.of(lane)
        is_unlimited = limits is not None and not limits
        return "" if is_unlimited else (await self._vocabulary.words()).limit_of(error)

    def _may_fire(self, timer: Timer) -> bool:
        if any(other.fires_before(timer) for other in self._timers.values() if other is not timer):
            return False
        leases = self._leases()
        return not (leases and timer.moment and leases.fires_within(timer.moment, timer.seconds))

    def _breaks_a_circle(self, timer: Timer) -> bool:
        return timer.seconds < self._deadlock_seconds.get(timer.lane.name, 0)

    def _waited_by(self, lane: Lane, waits: Mapping[str, Wait]) -> _Waited:
        number = lane.awaited[0].number
        began_at = waits[lane.name].began_at if lane.name in waits else 0.0
        leases, now = self._leases(), self._now()
        moment = leases.moment if leases else None
        known = self._waited.get(lane.name)
        if known is None or known.number != number:
            return _Waited(number, began_at, now, now, moment, moment)
        if began_at and known.began_at and began_at != known.began_at:
            return _Waited(number, began_at, known.since, now, known.moment, moment)
        return known

    def _of_redis(self, lane: Lane, client_id: int) -> list[Timer]:
        request = lane.awaited[0]
        if not isinstance(request, RedisRequest) or not request.block_seconds:
            return []
        if not client_id:
            self.unclear.append(lane)
            return []
        waited, seconds = self._waited[lane.name], float(request.block_seconds)
        return [Timer(lane, request, request.name, seconds, waited.since, waited.moment, client_id)]

    def _of_postgres(self, lane: Lane) -> list[Timer]:
        limits = self._limits.of(lane)
        if limits is None or (limits and not self._limits.is_cancelling_the_same):
            self.unclear.append(lane)
            return []
        waited, request = self._waited[lane.name], lane.awaited[0]
        timers = []
        if limits.lock_ms:
            since, moment = waited.lock_since, waited.lock_moment
            timers.append(Timer(lane, request, LOCK, limits.lock_ms / 1000, since, moment))
        if limits.statement_ms:
            since, moment = waited.since, waited.moment
            timers.append(
                Timer(lane, request, STATEMENT, limits.statement_ms / 1000, since, moment)
            )
        return timers


def _encoding(lane: Lane) -> str:
    parameters = lane.framing.parameters if isinstance(lane.framing, PostgresFraming) else {}
    return python_encoding(parameters.get("client_encoding", "UTF8"))
