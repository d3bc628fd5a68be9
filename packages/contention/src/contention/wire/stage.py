"""The stage: workers behind gates, moved one request at a time.

Between two steps every worker has come to rest: it holds a request at its gate, waits for the
server, or has ended. A worker that sleeps is woken at once, as its next request can be held for as
long as one likes; but a poll that would get the same answer again is parked until somebody touches
what it asks about.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from redis.asyncio import Redis

from contention.model.footprints import Footprint, reads, writes
from contention.model.schedules import AGE, EXPIRE, worker_of
from contention.model.steps import Effect, Link, Step
from contention.wire.actors import LATE_SECONDS, Actor, text_of
from contention.wire.blocking import LockWaits
from contention.wire.broker import BrokerKeeper
from contention.wire.dead_ends import DeadEnds
from contention.wire.events import Failure, Refused
from contention.wire.expiries import Expiries, Vocabulary
from contention.wire.footprint_reader import FootprintReader
from contention.wire.gate import Lane, Reply, Request
from contention.wire.hidden_words import stops_counting
from contention.wire.leases import END, Leases, RanOutError
from contention.wire.left_out import LeftOut
from contention.wire.lessons import Lessons, Poll
from contention.wire.locks_seen import LockWatcher
from contention.wire.own_links import OwnLinks
from contention.wire.patience import Patience
from contention.wire.postgres_requests import Execution
from contention.wire.quiet import Quiet, SpoiledError, StageError
from contention.wire.recording import Recording
from contention.wire.redis import RespFraming
from contention.wire.redis_clients import RedisClients
from contention.wire.redis_lifecycle import OF_THE_SERVER
from contention.wire.redis_requests import RedisRequest
from contention.wire.servers import Servers
from contention.wire.sources import source_of
from contention.wire.story import Story
from contention.wire.time_limits import TimeLimits
from contention.wire.trials import tries_of
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, WorkerStaysError
from contention.wire.workers_kinds import worker_for

__all__ = ["SpoiledError", "Stage", "StageError"]

_MOST_STEPS: Final = 1_000
_BEFORE_END: Final = reads("end of the run")
_END: Final = writes("end of the run")
_OF_THE_SERVER: Final = (
    "what it changes belongs to the whole server and is not put back for the next run; do it "
    "before the test, or in setup"
)
_STOPS_COUNTING: Final = Refused(
    "what may turn track_counts off", "by these counts the kit finds what a run has changed"
)


class Stage:
    """Workers behind gates, and the kit's look into the servers; for one run.

    Args:
        loop: the loop in which everything runs.
        servers: whose database and keys are those of this run.
        watcher: looks into the run's database.
        links: the workers' own, behind gates.
        keys: the kit's own connection to Redis, which stays open.
        silence_seconds: how long a worker may do nothing before it is not waited for any more.
        leases_age: whether a time-out of a Redis key may fire at any moment.
        ends_age: whether it may also fire after the workers have ended, as whoever looks at the
            keys then may see.
        limits_fire: whether a time limit of a wait may fire while others can go on.
        vocabulary: what PostgreSQL says when one does.
        lessons: what the runs before have taught.
        takes_any_order: whether a deadlock may end another worker than the one who closed it, and
            those who wait for one row may overtake one another.
    """

    def __init__(
        self,
        loop: VirtualClockLoop,
        servers: Servers,
        watcher: LockWatcher,
        links: OwnLinks,
        keys: Redis,
        *,
        silence_seconds: float = 5.0,
        leases_age: bool = True,
        ends_age: bool = False,
        limits_fire: bool = True,
        vocabulary: Vocabulary | None = None,
        lessons: Lessons | None = None,
        takes_any_order: bool = False,
    ) -> None:
        self._loop = loop
        self._leases_age = leases_age
        self._limits_fire = limits_fire
        self._ends_age = ends_age
        self._is_over = False
        self._actors: dict[str, Actor] = {}
        self._lessons = lessons or Lessons()
        self._choices = 0
        self._patience = Patience(self._lessons, lambda: self._choices)
        self._clients = RedisClients(keys)
        self._leases: Leases | None = None
        self._story = Story()
        locks = LockWaits(watcher.connection)
        self._limits = TimeLimits(watcher.catalogue)
        self._expiries = Expiries(
            self._limits,
            self._clients,
            watcher.connection,
            vocabulary or Vocabulary(servers.postgres.using("postgres")),
            leases=lambda: self._leases,
            now=lambda: self._choices,
        )
        self._quiet = Quiet(
            loop,
            self._actors,
            locks,
            self._clients,
            self._expiries,
            silence_seconds=silence_seconds,
        )
        self._refused = str(_STOPS_COUNTING) if watcher.catalogue.stops_counting else ""
        self._ends = DeadEnds(self._actors, self._story, locks)
        self._recording = Recording(
            self._actors,
            self._quiet,
            FootprintReader(watcher, self._lessons, limits_fire=limits_fire),
            self._story,
            self._ends,
            takes_any_order=takes_any_order,
        )
        self._left_out = LeftOut(self._quiet, self._patience)
        self.broker = BrokerKeeper(self._quiet.moved, self.failed)
        self._links = links

    # --- what the gates tell -------------------------------------------------------------------

    def opened(self, lane: Lane) -> None:
        """A worker opened a connection."""
        lanes = self._actors[lane.worker].lanes
        lanes.append(lane)
        # Each gate counts its own; the names of a worker's connections must differ.
        lane.number = len(lanes)
        if isinstance(lane.framing, RespFraming):
            self._clients.opened(lane)
        self._quiet.moved(lane.worker)

    def arrived(self, lane: Lane, request: Request) -> bool:
        """A request came; only steps are held, and what prepares one inside a transaction."""
        self._quiet.moved(lane.worker)
        self._quiet.messages.arrived(lane, request)
        self._limits.arrived(lane, request)
        self._refuse(lane, request)
        return self._recording.arrived(lane, request)

    def ends_apart(self, lane: Lane, execution: Execution) -> bool:
        """Whether a statement outside of a transaction block ends in a step of its own."""
        return self._recording.ends_apart(lane, execution)

    def _refuse(self, lane: Lane, request: Request) -> None:
        """Refuse what a run could not be put back after."""
        if isinstance(request, RedisRequest):
            if request.name in OF_THE_SERVER:
                self.failed(lane, Refused(request.name, _OF_THE_SERVER))
        elif any(map(stops_counting, (*request.texts, *lane.start_up.values()))):
            self.failed(lane, _STOPS_COUNTING)

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """A reply has ended."""
        self._quiet.moved(lane.worker)
        self._limits.replied(lane, request, reply)
        self._recording.replied(lane, request, reply)

    def failed(self, lane: Lane, failure: Failure) -> None:
        """A connection that cannot be understood: the run cannot be judged."""
        self._quiet.failed(lane, failure)

    def closed(self, lane: Lane) -> None:
        """A connection is gone."""
        self._quiet.closed(lane)
        self._recording.closed(lane)

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
    def unheard(self) -> frozenset[str]:
        """Workers that were not waited for at some moment."""
        return frozenset(self._quiet.unheard)

    @property
    def has_queued(self) -> bool:
        """Whether several workers waited for one row at once, so that the server had a choice."""
        return self._recording.has_queued

    @property
    def questions(self) -> Mapping[Poll, int]:
        """Loops that were left out, though it is not known whether their workers give up.

        With the number of choices before they were.
        """
        return self._patience.questions

    @property
    def cut_reason(self) -> str:
        """What was left out in this run, as a sentence; empty while nothing was."""
        ageings = self._leases.cut_reason if self._leases else ""
        limits = self._expiries.cut_reason or self._quiet.own_limits.cut_reason
        return ageings or limits or next(self._left_out.reasons(), "")

    async def enter(self, bodies: Sequence[Body]) -> None:
        """Bring each worker on, behind gates of its own, up to its first request.

        Raises:
            StageError: the run cannot be judged.
        """
        if self._refused:
            raise StageError(self._refused)
        self._links.begin()
        for number, body in enumerate(bodies, start=1):
            name = f"w{number}"
            links = await self._links.open(name, self, self.broker)
            self._actors[name] = Actor(
                name, worker_for(name, body, self._loop, partial(self._quiet.moved, name))
            )
            self._actors[name].worker.start(links)
        await self._quiet.comes()

    def options(self) -> list[str]:
        """Who can go on, and which time-outs can fire; after all have ended, that it is over."""
        circle = self._quiet.cycle
        if circle and not self._expiries.breaks(circle):
            return []
        holding = [actor for actor in self._actors.values() if actor.holding]
        self._left_out.note(self._actors.values())
        able = [name for one in self._patience.able(holding) for name in one.options()]
        fire = (
            self._limits_that_may_fire(circle, is_only=not able)
            if self._limits_fire or not able
            else []
        )
        if holding or fire or self._expiries.are_running or self._quiet.messages.of_keys:
            return [*able, *fire, *self._ageings()]
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
        self._quiet.messages.step_begins()
        self._quiet.own_limits.step_begins(name)
        try:
            effect = await self._done(name)
        except RanOutError as error:
            raise SpoiledError(str(error)) from error
        effect = self._quiet.own_limits.in_effect(name, effect)
        return self._quiet.messages.in_effect(name, effect)

    async def tries_of(self, name: str) -> int | None:
        """How often a worker that polls does so; see `contention.wire.trials`."""
        return await tries_of(self._actors[name], self, self._expiries)

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
        """End what still runs, and cut what goes through the gates.

        Raises:
            StageError: a worker cannot be ended.
        """
        self._loop.observer = None
        await self._links.end()
        stops = [actor.worker.stop() for actor in self._actors.values()]
        stopped = await asyncio.gather(*stops, return_exceptions=True)
        self._links.forget()
        for error in stopped:
            if isinstance(error, WorkerStaysError):
                raise StageError(str(error)) from error
            if isinstance(error, BaseException):
                raise error

    # --- steps ---------------------------------------------------------------------------------

    async def _done(self, name: str) -> Effect:
        if self._quiet.own_limits.is_one(name):
            return await self._give_up(name)
        if name.startswith(EXPIRE):
            return await self._expire(name)
        return await (self._age(name) if name.startswith(AGE) else self._let_go_on(name))

    async def _let_go_on(self, name: str) -> Effect:
        actor = self._actors[worker_of(name)]
        lane = actor.options().get(name)
        if lane is None:
            raise StageError(f"{name} has no request to let go on")
        await self._prepare_leases(lane)
        was_parked = actor.is_parked
        if was_parked:
            self._loop.pass_time(LATE_SECONDS)
            actor.is_late = True
        self._recording.begin()
        held = lane.held
        assert held is not None  # noqa: S101 - else it is no option
        self._recording.sources[lane.name] = source_of(actor, text_of(held), self._actors.values())
        self._recording.goes_on(lane, held)
        lane.let_pass()
        await self._quiet.comes()
        footprint = await self._record(lane.name)
        # A worker that polled in vain has seen that time passed, and does not count as free.
        actor.polls.idle = actor.polls.idle + 1 if was_parked and actor.polls.period else 0
        return Effect(footprint, self._recording.moved(name), lane.is_awaiting_reply)

    async def _age(self, option: str) -> Effect:
        assert self._leases is not None  # noqa: S101 - it gave the option
        await self._leases.hold_still()
        self._recording.begin()
        aged = await self._leases.age(option)
        self._story.ran_out(option.removeprefix(AGE), aged.seconds, aged.gone)
        self._loop.pass_time(aged.seconds)
        await self._quiet.comes()
        footprint = (await self._record(option)).joined([aged.footprint, _BEFORE_END])
        self._recording.disturb(option, aged.footprint)
        return Effect(footprint, self._recording.moved(option))

    async def _expire(self, option: str) -> Effect:
        """Let a wait's time limit fire.

        Raises:
            StageError: the server does not end the wait.
        """
        timer = self._expiries.timer(option)
        if self._leases:
            await self._leases.hold_still()
        self._recording.begin()
        self._story.limit_fired(timer.lane.worker, timer.told)
        self._quiet.owes(timer.lane)
        self._recording.expires(timer.lane)
        try:
            await self._expiries.fire(timer)
        except LookupError as error:
            raise SpoiledError(str(error)) from error
        self._loop.pass_time(timer.seconds)
        await self._quiet.comes()
        footprint = await self._record(timer.lane.name)
        return Effect(footprint, self._recording.moved(option))

    async def _give_up(self, name: str) -> Effect:
        """Let a time limit of a worker's own fire."""
        if self._leases:
            await self._leases.hold_still()
        self._recording.begin()
        worker = worker_of(name)
        waiting = self._actors[worker].waiting
        for lane in waiting:
            self._recording.expires(lane)
        self._story.limit_fired(worker, self._quiet.own_limits.fire(worker, self._quiet.owes))
        await self._quiet.comes()
        footprint = await self._record(waiting[0].name if waiting else name)
        return Effect(footprint, self._recording.moved(name))

    def _limits_that_may_fire(self, circle: Sequence[str], *, is_only: bool) -> list[str]:
        own = self._quiet.own_limits
        fire = [
            option
            for option in self._expiries.options(circle)
            if not own.fires_before(self._expiries.timer(option))
        ]
        return fire if circle else [*fire, *own.options(is_only=is_only and not fire)]

    async def _record(self, chosen: str) -> Footprint:
        """Tell all that happened in a step, and what time-outs of keys it has set.

        Raises:
            SpoiledError: a time limit fired that nobody has chosen.
        """
        await self._check_clock()
        whole, of_redis = await self._recording.tell(chosen)
        if self._leases:
            set_now = await self._leases.note(of_redis, self._recording.databases)
            whole = whole.joined([set_now])
        return whole

    async def _check_clock(self) -> None:
        for one in self._recording.answered:
            limit = await self._expiries.fired_by_itself(one.lane, one.request, one.reply)
            if limit and self._expiries.is_unclear(one.lane, one.request):
                self._quiet.note_limited(one.lane.worker)
            elif limit:
                raise SpoiledError(
                    f"the {limit} of {one.lane.worker} fired by the real clock in the middle of a "
                    "step: give it a longer one in the test"
                )

    async def _prepare_leases(self, lane: Lane) -> None:
        """See that keys have left what they had; those with a time-out at the start included."""
        if self._leases:
            await self._leases.hold_still()
        elif self._leases_age and isinstance(lane.framing, RespFraming):
            self._leases = Leases(self._clients.client)
            await self._leases.begin()

    def _ageings(self) -> list[str]:
        return self._leases.options() if self._leases else []
