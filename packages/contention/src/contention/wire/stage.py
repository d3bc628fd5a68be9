"""The stage: workers behind gates, moved one request at a time.

Between two steps every worker has come to rest: it holds a request at its gate, waits for the
server, or has ended. A worker that sleeps is woken at once, as its next request can be held for as
long as one likes; but a poll that would get the same answer again is parked until somebody touches
what it asks about.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from contention.model.footprints import NOTHING, Footprint, reads, writes
from contention.model.steps import Effect, Link, Step
from contention.wire.actors import LATE_SECONDS, Actor, has_failed, is_step, result_of, text_of
from contention.wire.backends import Backends
from contention.wire.blocking import LockWaits, Wait
from contention.wire.broker import BrokerKeeper
from contention.wire.dead_ends import DeadEnds
from contention.wire.events import Failure, Refused
from contention.wire.footprint_reader import FootprintReader
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.hidden_words import stops_counting
from contention.wire.leases import AGE, END, Leases, RanOutError
from contention.wire.lessons import MOST_TRIES, Lessons, Poll
from contention.wire.locks_seen import LockWatcher
from contention.wire.patience import Patience
from contention.wire.polls import Asked, changes, looks, touched_by
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_requests import PostgresRequest
from contention.wire.preparations import Preparations
from contention.wire.quiet import Quiet, SpoiledError, StageError
from contention.wire.redis import RespFraming
from contention.wire.redis_clients import RedisClients
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.redis_scripts import Scripts
from contention.wire.row_queues import has_queue, overtaker
from contention.wire.servers import Links, Servers
from contention.wire.story import Story
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, WorkerStaysError
from contention.wire.workers_kinds import worker_for

__all__ = ["SpoiledError", "Stage", "StageError"]

_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
_MOST_STEPS: Final = 1_000
_BEFORE_END: Final = reads("end of the run")
_END: Final = writes("end of the run")
_STOPS_COUNTING: Final = Refused(
    "what may turn track_counts off", "by these counts the kit finds what a run has changed"
)
_LONGEST_TRIAL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Answered:
    """A reply that came in the course of a step.

    Attributes:
        ended: what the transaction touched that it ended; `None` when it ended none.
    """

    lane: Lane
    request: Request
    reply: Reply
    ended: Footprint | None


class Stage:
    """Workers behind gates, and the kit's look into the servers; for one run.

    Args:
        loop: the loop in which everything runs.
        servers: whose database and keys are those of this run.
        watcher: looks into the run's database.
        folder: for the gates' sockets; its path is short.
        silence_seconds: how long a worker may do nothing before it is not waited for any more.
        backends: serve the workers' connections to PostgreSQL one after another.
        leases_age: whether a time-out of a Redis key may fire at any moment.
        ends_age: whether it may also fire after the workers have ended, as whoever looks at the
            keys then may see.
        scripts: of Redis, known from the runs before.
        lessons: what the runs before have taught.
        takes_any_order: whether a deadlock may end another worker than the one who closed it, and
            those who wait for one row may overtake one another.
    """

    def __init__(
        self,
        loop: VirtualClockLoop,
        servers: Servers,
        watcher: LockWatcher,
        folder: Path,
        silence_seconds: float = 5.0,
        *,
        backends: Backends | None = None,
        leases_age: bool = True,
        ends_age: bool = False,
        scripts: Scripts | None = None,
        lessons: Lessons | None = None,
        takes_any_order: bool = False,
    ) -> None:
        self._loop = loop
        self._servers = servers
        self._folder = folder
        self._backends = backends
        self._leases_age = leases_age
        self._ends_age = ends_age
        self._is_over = False
        self._takes_any_order = takes_any_order
        self._actors: dict[str, Actor] = {}
        self._gates: list[Gate] = []
        self._scripts = scripts or Scripts()
        self._lessons = lessons or Lessons()
        self._choices = 0
        self._patience = Patience(self._lessons, lambda: self._choices)
        self._clients = RedisClients(lambda: Redis.from_url(servers.redis.url))
        self._leases: Leases | None = None
        self._answered: list[_Answered] = []
        self._freed: set[str] = set()
        self._waits_before: Mapping[str, Wait] = {}
        self._has_queued = False
        self._sources: dict[str, str] = {}
        self._crowded: set[str] = set()
        self._preparations = Preparations()
        self._footprints = FootprintReader(watcher)
        self._story = Story()
        locks = LockWaits(watcher.connection)
        self._quiet = Quiet(loop, self._actors, locks, self._clients, silence_seconds)
        self._quiet.has_time_limits = watcher.catalogue.limits_waits
        self._refused = str(_STOPS_COUNTING) if watcher.catalogue.stops_counting else ""
        self._ends = DeadEnds(self._actors, self._story, locks)
        self.broker = BrokerKeeper(self._quiet.moved, self.failed)

    # --- what the gates tell -------------------------------------------------------------------

    def opened(self, lane: Lane) -> None:
        """A worker opened a connection."""
        lanes = self._actors[lane.worker].lanes
        lanes.append(lane)
        # Each gate counts its own; the names of a worker's connections must differ.
        lane.number = len(lanes)
        self._quiet.moved(lane.worker)

    def arrived(self, lane: Lane, request: Request) -> bool:
        """A request came; only steps are held, and what prepares one inside a transaction."""
        self._quiet.arrived(lane, request)
        if isinstance(request, PostgresRequest):
            self._refuse(lane, request)
        self._footprints.saw(lane, request)
        if self._is_step(lane, request):
            return self._preparations.are_followed_on(lane)
        return not self._preparations.take(lane, request)

    def _refuse(self, lane: Lane, request: PostgresRequest) -> None:
        """Refuse what a run could not be put back after."""
        if any(map(stops_counting, (*request.texts, *lane.start_up.values()))):
            self.failed(lane, _STOPS_COUNTING)

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """A reply has ended."""
        self._quiet.moved(lane.worker)
        if lane.name in self._quiet.waits:
            self._freed.add(lane.worker)
        has_failed = self._preparations.have_failed(lane, request, reply)
        if has_failed or self._is_step(lane, request):
            ended = self._footprints.ended(lane, request)
            self._answered.append(_Answered(lane, request, reply, ended))
        else:
            self._footprints.passed(lane, request, reply)

    def failed(self, lane: Lane, failure: Failure) -> None:
        """A connection that cannot be understood: the run cannot be judged."""
        self._quiet.failed(lane, failure)

    def closed(self, lane: Lane) -> None:
        """A connection is gone."""
        self._quiet.closed(lane)
        self._footprints.forget(lane)

    # --- what the explorer does ----------------------------------------------------------------

    @property
    def steps(self) -> list[Step]:
        """What has happened so far."""
        return self._story.steps

    @property
    def lanes(self) -> list[Lane]:
        """All connections of the workers, those to brokers apart; also those that are closed."""
        return [lane for actor in self._actors.values() for lane in actor.lanes]

    @property
    def deadlocks(self) -> list[str]:
        """The deadlocks that the server has ended so far, each as a sentence."""
        return self._ends.deadlocks

    @property
    def ran_out(self) -> list[str]:
        """The keys whose time-outs have fired so far."""
        return [key for step in self.steps if step.link is Link.CLOCK for key in step.touches]

    @property
    def has_queued(self) -> bool:
        """Whether several workers waited for one row at once, so that the server had a choice."""
        return self._has_queued

    @property
    def questions(self) -> Mapping[Poll, int]:
        """Loops that were left out, though it is not known whether their workers give up.

        With the number of choices before they were.
        """
        return self._patience.questions

    @property
    def cut_reason(self) -> str:
        """What was left out in this run, as a sentence; empty while nothing was."""
        reasons = [
            self._leases.cut_reason if self._leases else "",
            *(
                f"what {name} could have asked while it was silent"
                for name in sorted(self._quiet.unheard)
            ),
            *(
                f"the other orders of what {name} asks at the same time"
                for name in sorted(self._crowded)
            ),
            *(
                f"what {name} does if a time limit of its own ends its wait while others go on"
                for name in sorted(self._quiet.limited)
            ),
            *(
                f"whether {poll.worker} gives up asking {poll.asks} while others go on, as it "
                "sleeps by a clock of its own"
                for poll in sorted(self._patience.unsure)
            ),
        ]
        return next(filter(None, reasons), "")

    async def enter(self, bodies: Sequence[Body]) -> None:
        """Bring each worker on, behind gates of its own, up to its first request.

        Raises:
            StageError: the run cannot be judged.
        """
        if self._refused:
            raise StageError(self._refused)
        for number, body in enumerate(bodies, start=1):
            name = f"w{number}"
            links = await self._open_links(name)
            self._actors[name] = Actor(
                name, worker_for(name, body, self._loop, partial(self._quiet.moved, name))
            )
            self._actors[name].worker.start(links)
        await self._quiet.comes()

    def options(self) -> list[str]:
        """Who can go on, and which time-outs can fire; after all have ended, that it is over."""
        if self._quiet.cycle:
            return []
        holding = [actor for actor in self._actors.values() if actor.holding]
        self._crowded.update(one.name for one in holding if one.is_crowded)
        if holding:
            return [*self._patience.able(holding), *self._ageings()]
        ageings = self._ageings() if self._ends_age and self.has_ended else []
        return [END, *ageings] if ageings and not self._is_over else []

    async def step(self, name: str) -> Effect:
        """Let a worker's held request go on, or a time-out fire, and wait until everybody rests.

        Raises:
            SpoiledError: the servers did not do what they do when the same steps are taken again.
            StageError: the run cannot be judged.
        """
        self._choices += 1
        if len(self.steps) > _MOST_STEPS:
            raise StageError(f"a run of more than {_MOST_STEPS} steps: {name} does not come to end")
        if name == END:
            self._is_over = True
            return Effect(_END)
        try:
            return await (self._age(name) if name.startswith(AGE) else self._let_go_on(name))
        except RanOutError as error:
            raise SpoiledError(str(error)) from error

    async def tries_of(self, name: str) -> int | None:
        """Let a worker that polls go on alone; how often it does before it does something else.

        Returns:
            `None` if it goes on for longer than anybody waits.

        Raises:
            StageError: the run cannot be judged.
        """
        actor, until = self._actors[name], time.monotonic() + _LONGEST_TRIAL_SECONDS
        tries = actor.polls.idle
        while actor.is_parked and name in self.options():
            is_late = actor.worker.is_elsewhere and time.monotonic() > until
            if tries >= MOST_TRIES or is_late:
                return None
            await self.step(name)
            tries += 1
        return tries

    @property
    def has_ended(self) -> bool:
        """Whether every worker has ended."""
        return all(actor.has_ended for actor in self._actors.values())

    async def dead_end(self) -> str:
        """Why nobody can go on although not everybody has ended, as a sentence.

        Raises:
            StageError: it is not certain that nobody ever will.
        """
        return await self._ends.told(self._quiet)

    def results(self) -> dict[str, object]:
        """What each worker returned, or the exception that ended it."""
        return {
            actor.name: actor.worker.outcome
            for actor in self._actors.values()
            if actor.worker.has_ended
        }

    async def leave(self) -> None:
        """End what still runs, and close every gate.

        Raises:
            StageError: a worker cannot be ended.
        """
        self._loop.observer = None
        for gate in self._gates:
            await gate.close()
        await self._clients.close()
        stops = [actor.worker.stop() for actor in self._actors.values()]
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(error, WorkerStaysError):
                raise StageError(str(error)) from error
            if isinstance(error, BaseException):
                raise error

    # --- steps ---------------------------------------------------------------------------------

    async def _let_go_on(self, name: str) -> Effect:
        actor = self._actors[name]
        lane = actor.holding
        if lane is None:
            raise StageError(f"{name} has no request to let go on")
        await self._prepare_leases(lane)
        was_parked = actor.is_parked
        if was_parked:
            self._loop.pass_time(LATE_SECONDS)
            actor.is_late = True
        self._begin()
        held = lane.held
        assert held is not None  # noqa: S101 - the lane is one that holds
        self._sources[lane.name] = self._source(actor, text_of(held))
        self._preparations.go_on(lane, held)
        lane.let_pass()
        await self._quiet.comes()
        footprint = await self._record(name)
        # A worker that polled in vain has seen that time passed, and does not count as free.
        actor.polls.idle = actor.polls.idle + 1 if was_parked and actor.polls.period else 0
        return Effect(footprint, self._moved(name), lane.is_awaiting_reply)

    def _source(self, actor: Actor, text: str) -> str:
        """Where a worker asks.

        Raises:
            StageError: another one asks, through this one's link.
        """
        others = [other for other in self._actors.values() if not other.is_at_rest]
        if others and not actor.worker.has_at_hand(text):
            for other in others:
                if other.worker.has_at_hand(text):
                    raise StageError(
                        f"{other.name} uses a link of {actor.name}, for {text}: open a connection "
                        "for each worker, from its own links, and share none between them"
                    )
        return actor.worker.asks_at(text)

    async def _age(self, option: str) -> Effect:
        assert self._leases is not None  # noqa: S101 - it gave the option
        await self._leases.hold_still()
        self._begin()
        aged = await self._leases.age(option)
        self._story.ran_out(option.removeprefix(AGE), aged.seconds, aged.gone)
        self._loop.pass_time(aged.seconds)
        await self._quiet.comes()
        footprint = (await self._record(option)).joined([aged.footprint, _BEFORE_END])
        self._disturb(option, aged.footprint)
        return Effect(footprint, self._moved(option))

    async def _prepare_leases(self, lane: Lane) -> None:
        """See that keys have left what they had; those with a time-out at the start included."""
        if self._leases:
            await self._leases.hold_still()
        elif self._leases_age and isinstance(lane.framing, RespFraming):
            self._leases = Leases(self._clients.client)
            await self._leases.begin()

    def _begin(self) -> None:
        self._answered = []
        self._freed = set()
        self._preparations.forget()
        self._waits_before = self._quiet.waits

    def _moved(self, chosen: str) -> frozenset[str]:
        answered = {one.lane.worker for one in self._answered}
        return frozenset((answered | self._freed) - {chosen})

    async def _record(self, chosen: str) -> Footprint:
        """Tell all that happened in a step, the chosen worker's own reply first.

        Replies on several sockets come in any order.
        """
        whole = NOTHING
        ordered = sorted(self._answered, key=lambda one: (one.lane.worker != chosen, one.lane.name))
        for one in ordered:
            footprint = await self._touched(one)
            source = self._sources.get(one.lane.name, "")
            if self._ends.is_wrong_victim(one.lane, one.reply) and not self._takes_any_order:
                raise SpoiledError(
                    f"{one.lane.worker} was a deadlock's victim in spite of its wait"
                )
            await self._ends.explain(one.lane, one.request, one.reply, footprint, source)
            self._story.answered(one.lane, one.request, one.reply, footprint, source)
            actor = self._actors[one.lane.worker]
            actor.polls.remember(_asked(one, footprint))
            if not actor.polls.has_only_looked:
                self._disturb(actor.name, footprint)
            whole = whole.joined([footprint])
        whole = whole.joined([await self._record_waits(), await self._note_leases(ordered)])
        self._check_queues()
        left = self._footprints.left_behind()
        self._disturb("", left)
        return whole.joined([left])

    def _check_queues(self) -> None:
        """See that nobody has been overtaken by who asked for the same row later."""
        waits = self._quiet.waits
        self._has_queued |= has_queue(waits)
        lanes = {lane.name: lane for actor in self._actors.values() for lane in actor.waiting}
        answered = {one.lane.name for one in self._answered if not has_failed(one.reply)}

        def asked_at(name: str) -> int | None:
            step = self._story.waits(lanes[name]) if name in lanes else None
            return step.number if step else None

        early = overtaker(self._waits_before, waits, answered, asked_at)
        if early and not self._takes_any_order:
            raise SpoiledError(f"{early} overtook another in the queue for a row")

    async def _touched(self, one: _Answered) -> Footprint:
        if one.ended is not None:
            return one.ended
        if isinstance(one.request, RedisRequest) and isinstance(one.reply, RedisReply):
            return touched_by(one.request, one.reply)
        return await self._footprints.of(one.lane, one.request, one.reply)

    async def _record_waits(self) -> Footprint:
        """Tell who has come to wait; what they touch."""
        whole = NOTHING
        waiting = [lane for actor in self._actors.values() for lane in actor.waiting]
        for lane in waiting:
            if self._story.waits(lane) is None:
                footprint = await self._footprint_so_far(lane)
                blockers = self._ends.blockers(lane, self._quiet.waits, footprint)
                source = self._sources.get(lane.name, "") if is_step(lane.awaited[0]) else ""
                self._story.blocked(lane, lane.awaited[0], blockers, footprint, source)
                whole = whole.joined([footprint])
        return whole

    async def _footprint_so_far(self, lane: Lane) -> Footprint:
        request = lane.awaited[0]
        if isinstance(request, RedisRequest):
            return request.footprint
        return await self._footprints.so_far(lane, request)

    async def _note_leases(self, answered: Sequence[_Answered]) -> Footprint:
        """What a step touched by setting time-outs of keys."""
        footprint, databases = NOTHING, set()
        for one in answered:
            if isinstance(one.request, RedisRequest) and isinstance(one.reply, RedisReply):
                footprint = footprint.joined([touched_by(one.request, one.reply)])
                databases.add(one.request.database)
        return await self._leases.note(footprint, databases) if self._leases else NOTHING

    def _is_step(self, lane: Lane, request: Request) -> bool:
        return is_step(request) or self._footprints.is_looking(lane, request)

    def _disturb(self, by: str, footprint: Footprint) -> None:
        for actor in self._actors.values():
            if actor.name != by:
                actor.polls.disturbed_by(footprint)

    def _ageings(self) -> list[str]:
        return self._leases.options() if self._leases else []

    async def _open_links(self, name: str) -> Links:
        own = self._folder / name
        own.mkdir()
        server = self._servers.postgres.address
        postgres = Gate(name, server, PostgresFraming, self, self._backends)
        redis = Gate(name, self._servers.redis.address, lambda: RespFraming(self._scripts), self)
        broker = Gate(
            name, self._servers.redis.address, lambda: RespFraming(Scripts()), self.broker
        )
        self._gates += [postgres, redis, broker]
        await postgres.listen(Address(path=str(own / _POSTGRES_SOCKET)))
        await redis.listen(Address(path=str(own / "redis.sock")))
        await broker.listen(Address(path=str(own / "broker.sock")))
        return Links(
            self._servers.postgres.behind(own, port=5432).url,
            self._servers.redis.behind(own / "redis.sock").url,
            self._servers.redis.behind(own / "broker.sock").broker_url,
        )


def _asked(one: _Answered, footprint: Footprint) -> Asked:
    text, result = text_of(one.request), result_of(one.reply)
    return Asked(
        text,
        one.reply,
        footprint,
        looks(one.request, text, result),
        changes(one.request, one.reply, result),
    )
