"""One run: everybody from the start, one request at a time, as a scheduler says."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from contention.model.schedules import Choice, Schedule
from contention.model.steps import Run
from contention.schedulers.scheduler import NotDeterministicError, Scheduler
from contention.schedulers.serial import SerialScheduler
from contention.search.kept_connections import KeptConnections
from contention.search.start import RUN, Start
from contention.wire.expiries import Vocabulary
from contention.wire.leases import END
from contention.wire.lessons import Lessons, Poll
from contention.wire.locks_seen import LockWatcher
from contention.wire.plans import Plans
from contention.wire.servers import Links, Servers
from contention.wire.stage import SpoiledError, Stage, StageError
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body

MOST_LESSONS: Final = 20
TOO_MANY_LESSONS: Final = f"the workers did something new {MOST_LESSONS} times over"
_MOST_ATTEMPTS: Final = 4
"""So often the same steps are tried when the servers' own clocks come in between."""


class LearnedError(Exception):
    """A run has shown that more has to be tried in every run: the search begins again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended.

    Attributes:
        run: what was done; its reason is what the workers themselves did wrong.
        results: what each worker returned, or the exception that ended it.
        deadlocks: what the server ended by an error in one of them, each as a sentence.
        ran_out: the keys whose time-outs fired.
        cut_reason: which schedules from here on were left out; empty when none were.
        unheard: workers that were not waited for, as nothing came from them.
        is_given_up: whether the scheduler knew the rest, so that there is no end to judge.
    """

    run: Run
    results: Mapping[str, object]
    deadlocks: tuple[str, ...] = ()
    ran_out: frozenset[str] = frozenset()
    cut_reason: str = ""
    unheard: frozenset[str] = frozenset()
    is_given_up: bool = False


@dataclass(slots=True)
class _Known:
    """What a scheduler knows of a run that may have to be taken again.

    Attributes:
        choices: what it has chosen so far.
        told: of how many of them it has been told what they did.
        questions: of the latest attempt, see `Stage.questions`.
    """

    choices: list[Choice] = field(default_factory=list)
    told: int = 0
    questions: dict[Poll, int] = field(default_factory=dict)


@dataclass(slots=True)
class Runner:
    """Runs the same workers from the same start, as often as one likes.

    Attributes:
        count: how many runs there have been.
        limits_fire: see `Stage`.
        ends_age: see `Stage`.
        lessons: what the runs so far have taught about the workers.
        stopped: the run at which the latest `StageError` was raised, as far as it came.
    """

    loop: VirtualClockLoop
    servers: Servers
    start: Start
    workers: Sequence[Body]
    silence_seconds: float = 5.0
    plans: Plans = field(default_factory=Plans)
    leases_age: bool = True
    limits_fire: bool = True
    ends_age: bool = False
    lessons: Lessons = field(default_factory=Lessons)
    count: int = 0
    stopped: Run | None = None
    _vocabulary: Vocabulary = field(init=False)
    _kept_connections: KeptConnections = field(default_factory=KeptConnections, init=False)

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary(self.servers.postgres.using("postgres"))

    @property
    def links(self) -> Links:
        """Where the latest run's end can be looked at."""
        return self._own.links

    @property
    def _own(self) -> Servers:
        return Servers(self.servers.postgres.using(RUN), self.servers.redis)

    async def run(self, scheduler: Scheduler, only: frozenset[str] | None = None) -> Ended:
        """One run, as a scheduler that has been started says.

        Args:
            scheduler: says who goes on.
            only: the workers that take part, by name; the others stay away. `None` means all.

        Raises:
            StageError: the run cannot be judged.
            NotDeterministicError: the scheduler has seen other options after the same choices.
            LearnedError: more has to be tried in every run than was tried in this one.
        """
        self.count += 1
        known = _Known()
        ended_apart = self.lessons.ends_apart
        try:
            ended = await self._attempts(scheduler, only, known)
        except (StageError, NotDeterministicError):
            if self.lessons.ends_apart and not ended_apart:
                raise LearnedError from None
            await self._try_out(known, only)
            raise
        if self.lessons.ends_apart and not ended_apart:
            raise LearnedError
        if not known.questions:
            return ended
        await self._try_out(known, only)
        # What has been tried out has left an end of its own, which is nobody's to judge.
        return ended if ended.is_given_up else await self._attempts(scheduler, only, known)

    async def _attempts(
        self, scheduler: Scheduler, only: frozenset[str] | None, known: _Known
    ) -> Ended:
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            is_last = attempt == _MOST_ATTEMPTS
            stage = await self._stage(self.lessons, takes_any_order=is_last)
            try:
                return await self._play(stage, scheduler, only, known)
            except StageError as error:
                self.stopped = _told(known.choices, stage, str(error))
                if is_last or not isinstance(error, SpoiledError):
                    raise
            except NotDeterministicError:
                if is_last or not stage.has_queued:
                    raise
            finally:
                known.questions = dict(stage.questions)
                await stage.leave()
        raise AssertionError("the last attempt returns or raises")

    async def _try_out(self, known: _Known, only: frozenset[str] | None) -> None:
        """Find out how often those ask in vain who were left out of a run.

        Raises:
            LearnedError: somebody gives up, so that more has to be tried in every run.
        """
        is_new = False
        for poll, position in known.questions.items():
            tries = await self._tries(poll, known.choices[:position], only)
            self.lessons.tries[poll] = tries
            is_new |= tries is not None
        if is_new:
            raise LearnedError

    async def _tries(
        self, poll: Poll, choices: Sequence[Choice], only: frozenset[str] | None
    ) -> int | None:
        self.count += 1
        stage = await self._stage(self.lessons.while_asking(poll), takes_any_order=True)
        try:
            await stage.enter([self._part_of(number, only) for number in range(len(self.workers))])
            for position, choice in enumerate(choices):
                if choice.actor not in (options := stage.options()):
                    raise NotDeterministicError(position, [choice.actor], options)
                await stage.step(choice.actor)
            return await stage.tries_of(poll.worker)
        finally:
            await stage.leave()

    async def rehearse(self) -> Ended:
        """Run the workers one after another, to learn which scripts they bring to Redis.

        A server that has run for a while knows them; every later run begins with them, and so
        nobody is told that one is missing, loads it and asks again.
        """
        ended = await self._rehearsed()
        self.start.keep_scripts()
        return ended

    async def _rehearsed(self) -> Ended:
        for _ in range(MOST_LESSONS):
            scheduler = SerialScheduler([*self._names(), END])
            scheduler.start()
            with suppress(LearnedError):
                return await self.run(scheduler)
        raise StageError(TOO_MANY_LESSONS)

    def _names(self) -> list[str]:
        return [f"w{number + 1}" for number in range(len(self.workers))]

    async def _stage(self, lessons: Lessons, *, takes_any_order: bool) -> Stage:
        await self.start.restore()
        watching = await self.start.looking()
        return Stage(
            self.loop,
            self._own,
            await LockWatcher.on(watching, self.plans),
            self.start.gates,
            self.start.keys,
            silence_seconds=self.silence_seconds,
            leases_age=self.leases_age,
            limits_fire=self.limits_fire,
            vocabulary=self._vocabulary,
            ends_age=self.ends_age,
            lessons=lessons,
            takes_any_order=takes_any_order,
        )

    async def _play(
        self, stage: Stage, scheduler: Scheduler, only: frozenset[str] | None, known: _Known
    ) -> Ended:
        """Run to the end.

        Args:
            stage: nobody is on it yet.
            scheduler: says who goes on.
            only: who takes part.
            known: what the scheduler has said and was told in attempts that were spoiled.
        """
        await stage.enter([self._part_of(number, only) for number in range(len(self.workers))])
        choices: list[Choice] = []
        while options := stage.options():
            position = len(choices)
            if position == len(known.choices):
                chosen = scheduler.choose(options)
                if chosen is None:
                    return _given_up(choices, stage)
                known.choices.append(Choice(chosen))
            choice = known.choices[position]
            if choice.actor not in options:
                raise NotDeterministicError(position, [choice.actor], options)
            choices.append(choice)
            effect = await stage.step(choice.actor)
            if position == known.told:
                scheduler.executed(effect)
                known.told += 1
        reason = "" if stage.has_ended else await stage.dead_end()
        results = stage.results()
        if kept := self._kept_connections.complaint(results, stage.lanes):
            raise StageError(kept)
        return Ended(
            _told(choices, stage, reason),
            {name: results[name] for name in sorted(results) if only is None or name in only},
            tuple(stage.deadlocks),
            frozenset(stage.ran_out),
            stage.cut_reason,
            stage.unheard,
        )

    def _part_of(self, number: int, only: frozenset[str] | None) -> Body:
        """What a worker does, which is nothing for one that stays away."""
        return self.workers[number] if only is None or f"w{number + 1}" in only else _stay_away


async def _stay_away(_links: Links) -> None:
    """A worker that takes no part."""


def _given_up(choices: Sequence[Choice], stage: Stage) -> Ended:
    return Ended(
        _told(choices, stage),
        {},
        cut_reason=stage.cut_reason,
        unheard=stage.unheard,
        is_given_up=True,
    )


def _told(choices: Sequence[Choice], stage: Stage, reason: str = "") -> Run:
    made = tuple(choice for choice in choices if choice.actor != END)
    return Run(Schedule(made), tuple(stage.steps), reason)
