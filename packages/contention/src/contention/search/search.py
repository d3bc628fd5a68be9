"""The search: one run after another until a schedule fails, or none is left."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from contention.model.schedules import Schedule
from contention.model.steps import Run
from contention.model.verdicts import Verdict, VerdictKind
from contention.schedulers.bounded import BoundedScheduler
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.schedulers.scheduler import NotDeterministicError, Scheduler
from contention.search.complaints import complaint
from contention.search.determinism import difference
from contention.search.exploration import Exploration
from contention.search.judges import Judge
from contention.search.runs import (
    MOST_LESSONS,
    TOO_MANY_LESSONS,
    Ended,
    LearnedError,
    Runner,
)
from contention.wire.stage import StageError


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a search ends without an answer.

    Attributes:
        schedules: so many at most.
        seconds: for so long at most.
        shrinking: so many schedules at most to find a counterexample with fewer switches.
        silence_seconds: so long a worker may neither ask, wait, compute nor end.
    """

    schedules: int = 20_000
    seconds: float = 600.0
    shrinking: int = 100
    silence_seconds: float = 5.0


_MOMENT_SECONDS: Final = 0.2
_GLANCE_AFTER: Final = 40
_GLANCES: Final = ((1, 100), (2, 200))
"""Most failures need one preemption or two, and a search in depth meets them late: after so many
schedules without a failure it looks at so many with few preemptions, and then goes on."""


class _OutOfBoundsError(Exception):
    """The bounds are reached; it says which."""


@dataclass(slots=True)
class Search:
    """A search over the schedules of some workers.

    Attributes:
        runner: runs them.
        judge: looks at how each run ends.
        may_raise: exceptions that a worker may end with.
        bounds: where it gives up.
    """

    runner: Runner
    judge: Judge
    may_raise: tuple[type[BaseException], ...]
    bounds: Bounds
    exploration: Exploration
    _began_at: float = field(default_factory=time.monotonic)
    _cut_reason: str = ""
    _is_unheard: bool = False

    async def complete(self, scheduler: Scheduler, known: Sequence[Schedule] = ()) -> None:
        """Try what failed before, then everything; the answer is in the exploration."""
        try:
            await self._within_seconds(self._whole(scheduler, known))
        except (StageError, NotDeterministicError, _OutOfBoundsError) as error:
            if isinstance(error, StageError):
                self.exploration.stopped = self.runner.stopped
            self._undecided(str(error))
        finally:
            counted = self.exploration.schedules + self.exploration.shrinking
            self.exploration.beside = self.runner.count - counted
            self.exploration.seconds = time.monotonic() - self._began_at

    async def _whole(self, scheduler: Scheduler, known: Sequence[Schedule]) -> None:
        self._cut_reason = (await self.runner.rehearse()).cut_reason
        await self._search(scheduler, known)

    async def _within_seconds(self, work: Coroutine[object, object, None]) -> None:
        """Do the work, but break it off when the bound of seconds is reached, wherever it is.

        Raises:
            _OutOfBoundsError: it was broken off.
        """
        loop = self.runner.loop
        task = loop.create_task(work)
        try:
            # Between two runs the search ends by itself; in the midst of one a moment later.
            await loop.ends_within(task, self.bounds.seconds + _MOMENT_SECONDS)
        finally:
            if is_late := not task.done():
                task.cancel()
                await asyncio.wait({task})
        if is_late:
            raise _OutOfBoundsError(f"{self._seconds_ran_out()}, in the midst of the next")
        task.result()

    async def _search(self, scheduler: Scheduler, known: Sequence[Schedule]) -> None:
        """Search, and begin again whenever more has come to be known of the workers."""
        for _ in range(MOST_LESSONS):
            fresh = deepcopy(scheduler)
            try:
                await self._decide(scheduler, known)
            except LearnedError:
                scheduler = fresh
                self.exploration.schedules = self.exploration.given_up = 0
                self.exploration.shrinking = 0
                self._cut_reason = ""
            else:
                return
        raise StageError(TOO_MANY_LESSONS)

    async def _decide(self, scheduler: Scheduler, known: Sequence[Schedule]) -> None:
        broken = await self._first_failure(scheduler, known)
        if broken is None:
            self.exploration.verdict = _verdict(scheduler, self._cut_reason)
        else:
            await self._report(broken, is_shrunk=not isinstance(scheduler, ReplayScheduler))

    async def _first_failure(self, scheduler: Scheduler, known: Sequence[Schedule]) -> Run | None:
        for schedule in known:
            try:
                broken = await self._failure_of(ReplayScheduler(schedule))
            except NotDeterministicError:  # it belongs to the program as it was before
                continue
            if broken is not None:
                return broken
        return await self._failure_of(scheduler)

    async def _failure_of(self, scheduler: Scheduler) -> Run | None:
        """The first run that fails; `None` when the scheduler has no other."""
        is_first = True
        while scheduler.start():
            self._within_bounds()
            run = await self._searched(scheduler)
            if run is not None and run.reason:
                return run
            if is_first and run is not None:
                await self._repeat(run)
            is_first = False
            in_depth = isinstance(scheduler, ExhaustiveScheduler)
            if in_depth and self.exploration.schedules == _GLANCE_AFTER:
                seen = await self._glance()
                if seen is not None:
                    return seen
        return None

    async def _glance(self) -> Run | None:
        """A failure with few preemptions, if one is found soon."""
        for preemptions, most in _GLANCES:
            scheduler, left = BoundedScheduler(preemptions), most
            while left and scheduler.start():
                self._within_bounds()
                left -= 1
                run = await self._searched(scheduler)
                if run is not None and run.reason:
                    return run
        return None

    async def _searched(self, scheduler: Scheduler) -> Run | None:
        """A run of the search, counted."""
        run = await self._judged(scheduler)
        self.exploration.schedules += 1
        self.exploration.given_up += run is None
        passed = time.monotonic() - self._began_at
        has_failed = run is not None and run.reason
        if self._is_unheard and not has_failed and passed > self.bounds.silence_seconds:
            # It can fail, but not be LEGAL any more, and every schedule spends long in silence.
            raise _OutOfBoundsError(f"left out: {self._cut_reason}")
        return run

    async def _judged(self, scheduler: Scheduler) -> Run | None:
        """A run with what is wrong with it; `None` for one whose end is known already."""
        ended = await self.runner.run(scheduler)
        self._cut_reason = self._cut_reason or ended.cut_reason
        self._is_unheard = self._is_unheard or bool(ended.unheard)
        if ended.is_given_up:
            return None
        reason = (
            ended.run.reason
            or self._raised(ended)
            or await self.judge.objection(self.runner, ended)
        )
        return Run(ended.run.schedule, ended.run.steps, reason)

    def _raised(self, ended: Ended) -> str:
        for name, result in ended.results.items():
            if isinstance(result, BaseException) and not isinstance(result, self.may_raise):
                return complaint(name, result, ended.deadlocks)
        return ""

    async def _repeat(self, run: Run) -> Run:
        """The same schedule once more: it must give the same steps.

        Raises:
            StageError: it does not; the error names the first difference.
        """
        scheduler = ReplayScheduler(run.schedule)
        scheduler.start()
        try:
            again = await self.runner.run(scheduler)
        except NotDeterministicError as error:
            raise StageError(
                f"the same schedule does not lead to the same steps: {error}"
            ) from None
        found = difference(run.steps, again.run.steps)
        if found.in_shape:
            raise StageError(f"the same schedule does not give the same steps: {found.in_shape}")
        if found.in_values and not self.exploration.notes:
            self.exploration.notes.append(found.in_values)
        return Run(again.run.schedule, again.run.steps, run.reason)

    async def _report(self, broken: Run, *, is_shrunk: bool) -> None:
        """The failure, made as short as the bounds allow, and seen once more."""
        shortest = await self._shrunk(broken) if is_shrunk else broken
        await self._repeat(shortest)
        self.exploration.counterexample = shortest
        self.exploration.verdict = Verdict(VerdictKind.ILLEGAL, reason=shortest.reason)

    async def _shrunk(self, broken: Run) -> Run:
        """A failure with the fewest preemptions and, among those, the fewest switches."""
        for preemptions in range(broken.schedule.switches):
            found = [run async for run in self._failures(BoundedScheduler(preemptions))]
            if found:
                return min(*found, broken, key=lambda run: run.schedule.switches)
        return broken

    async def _failures(self, scheduler: Scheduler) -> AsyncIterator[Run]:
        """The runs that fail, as many as the bound of shrinking leaves room for."""
        while self.exploration.shrinking < self.bounds.shrinking and scheduler.start():
            self.exploration.shrinking += 1
            run = await self._judged(scheduler)
            if run is not None and run.reason:
                yield run

    def _within_bounds(self) -> None:
        if self.exploration.schedules >= self.bounds.schedules:
            raise _OutOfBoundsError(f"{self.bounds.schedules:,} schedules ran out")
        if time.monotonic() - self._began_at > self.bounds.seconds:
            raise _OutOfBoundsError(self._seconds_ran_out())

    def _seconds_ran_out(self) -> str:
        schedules = f"{self.exploration.schedules:,} schedules"
        return f"{self.bounds.seconds:g} seconds ran out after {schedules}"

    def _undecided(self, reason: str) -> None:
        self.exploration.verdict = Verdict(VerdictKind.UNKNOWN, reason=reason)


def _verdict(scheduler: Scheduler, cut_reason: str) -> Verdict:
    """What it means that no schedule of a scheduler failed."""
    if cut_reason:
        return Verdict(VerdictKind.UNKNOWN, reason=f"left out: {cut_reason}")
    if scheduler.is_complete:
        return Verdict(VerdictKind.LEGAL)
    if isinstance(scheduler, BoundedScheduler) and scheduler.has_finished:
        return Verdict(VerdictKind.LEGAL_UP_TO, preemptions=scheduler.preemptions)
    return Verdict(VerdictKind.UNKNOWN, reason=f"left out: {scheduler.cut_reason}")
