"""One run: everybody from the start, one request at a time, as a scheduler says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contention.model.schedules import Choice, Schedule
from contention.model.steps import Effect, Run
from contention.schedulers.scheduler import Scheduler
from contention.search.start import RUN, Start
from contention.wire.locks_seen import LockWatcher
from contention.wire.plans import Plans
from contention.wire.servers import Links, Servers
from contention.wire.stage import Stage, StageError
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended.

    Attributes:
        run: what was done; its reason is what the workers themselves did wrong.
        results: what each worker returned, or the exception that ended it.
        is_given_up: whether the scheduler knew the rest, so that there is no end to judge.
    """

    run: Run
    results: Mapping[str, object]
    is_given_up: bool = False


@dataclass(slots=True)
class Runner:
    """Runs the same workers from the same start, as often as one likes."""

    loop: VirtualClockLoop
    servers: Servers
    start: Start
    workers: Sequence[Body]
    silence_seconds: float = 5.0
    plans: Plans = field(default_factory=Plans)

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
        """
        await self.start.restore()
        watching = await self.start.looking()
        stage = Stage(
            self.loop,
            self._own,
            await LockWatcher.on(watching, self.plans),
            self.start.new_folder(),
            self.silence_seconds,
            backends=self.start.backends,
        )
        choices: list[Choice] = []
        try:
            await stage.enter([self._part_of(number, only) for number in range(len(self.workers))])
            while options := stage.options():
                chosen = scheduler.choose(options)
                if chosen is None:
                    return Ended(_told(choices, stage), {}, is_given_up=True)
                choices.append(Choice(chosen))
                scheduler.executed(Effect(await stage.step(chosen)))
            if not stage.has_ended:
                raise StageError(f"{', '.join(stage.stuck)} neither ends, waits nor asks")
            results = stage.results()
            return Ended(
                _told(choices, stage),
                {name: results[name] for name in sorted(results) if only is None or name in only},
            )
        finally:
            await stage.leave()

    def _part_of(self, number: int, only: frozenset[str] | None) -> Body:
        """What a worker does, which is nothing for one that stays away."""
        return self.workers[number] if only is None or f"w{number + 1}" in only else _stay_away


async def _stay_away(_links: Links) -> None:
    """A worker that takes no part."""


def _told(choices: Sequence[Choice], stage: Stage) -> Run:
    return Run(Schedule(tuple(choices)), tuple(stage.steps))
