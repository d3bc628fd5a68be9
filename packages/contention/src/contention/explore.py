"""Run workers under every order of their requests that matters, on real servers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from contention.model.schedules import Schedule
from contention.model.verdicts import Verdict, VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.schedulers.scheduler import Scheduler
from contention.search.ambient import Ambient, ambient
from contention.search.exploration import (
    Exploration,
    NotGreenError,
    PromiseBrokenError,
    UndecidedError,
)
from contention.search.garbage import seldom_collected
from contention.search.judges import Check, InvariantJudge, Judge, SerialJudge
from contention.search.own_thread import OwnThread
from contention.search.runs import Runner
from contention.search.search import Bounds, Search
from contention.search.start import Setup, Start, connect, drop
from contention.search.story import shortened
from contention.wire.servers import Servers
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, Process

__all__ = [
    "Bounds",
    "Exploration",
    "NotGreenError",
    "PromiseBrokenError",
    "UndecidedError",
    "explore",
]


_AGELESS: Final = (
    "leases_age=False: no time-out of a Redis key ran out before its time in any schedule, so this "
    "says nothing about a worker that is slower than its lease"
)
_LIMITLESS: Final = (
    "limits_fire=False: no time limit of a wait fired while anybody else could go on, so this says "
    "nothing about a worker that gives up waiting"
)

_BODIES: Final = (
    "what is inside one statement is one step: that others end between two looks of a function or "
    "a DO block is not tried, as in {}"
)
_MOST_OF_A_BODY: Final = 60


async def explore(
    *workers: Body,
    setup: Setup | None = None,
    invariant: Check | None = None,
    servers: Servers | None = None,
    scheduler: Scheduler | None = None,
    may_raise: type[BaseException] | tuple[type[BaseException], ...] = (),
    leave_out: Collection[str] = (),
    leases_age: bool = True,
    limits_fire: bool = True,
    bounds: Bounds | None = None,
) -> Exploration:
    """Run the workers from ``setup`` under every schedule that matters.

    Args:
        workers: functions of their `Links`, each as if on a machine of its own; ``w1``, ``w2`` …
            in the report.
        setup: makes the state from which every run begins, on empty servers; async, or an ordinary
            function, which is called in a thread.
        invariant: looks at the end of each run, with links of its own, and is async or not as
            ``setup`` is; it fails by an exception or by returning `False`. Without it, the end
            (tables, keys and what the workers returned) must equal the end of some serial order of
            the workers, generated ids, uuids and times compared up to their names. Where time-outs
            of keys have fired in the run, they may fire at any moment of a serial order, too.
        servers: a PostgreSQL and a Redis that the kit may empty; those of the surroundings (the
            ``postgres`` and ``redis`` fixtures) when left out.
        scheduler: how to search; exhaustively when left out.
        may_raise: exceptions that a worker may end with; it then counts as absent in the serial
            comparison.
        leave_out: what the serial comparison does not look at: tables and columns (``orders``,
            ``orders.created_at``) and keys (``redis lock:*``).
        leases_age: whether the time-out of a Redis key that a worker sets may fire at any moment,
            once each time it is set, as when its owner pauses for longer.
        limits_fire: whether the time limit of a wait (``lock_timeout``, ``statement_timeout``, that
            of a blocking Redis command) may fire while others could go on.
        bounds: where the search gives up without an answer.

    Returns:
        What was found; its verdict is green.

    Raises:
        PromiseBrokenError: a schedule broke the promise, or a worker raised something that
            ``may_raise`` does not name. It carries the counterexample.
        UndecidedError: the search could not be finished, and why.
        UnusableServerError: one of the servers cannot be used, and what to do about it.
        ValueError: no workers, or no servers.
    """
    __tracebackhide__ = True  # pytest shows where a test explores, not how that is done
    surroundings = ambient()
    job = _Job(
        workers,
        setup,
        SerialJudge(leave_out) if invariant is None else InvariantJudge(invariant),
        _servers(servers, surroundings, workers),
        scheduler or ExhaustiveScheduler(),
        may_raise if isinstance(may_raise, tuple) else (may_raise,),
        leases_age,
        limits_fire,
        bounds or Bounds(),
        Exploration({f"w{number}": _name(worker) for number, worker in enumerate(workers, 1)}),
        surroundings,
    )
    exploration = job.exploration
    broken_off = await OwnThread(job.search, job.bounds.silence_seconds, job.forsake).run()
    if broken_off:
        exploration.verdict = Verdict(VerdictKind.UNKNOWN, reason=broken_off)
    surroundings.ended(exploration)
    if not exploration.verdict.is_green:
        is_broken = exploration.verdict.kind is VerdictKind.ILLEGAL
        raise (PromiseBrokenError if is_broken else UndecidedError)(exploration)
    return exploration


@dataclass(slots=True)
class _Job:
    """A search, from beginning to end: what `explore` was given, and where it is told."""

    workers: Sequence[Body]
    setup: Setup | None
    judge: Judge
    servers: Servers
    scheduler: Scheduler
    may_raise: tuple[type[BaseException], ...]
    leases_age: bool
    limits_fire: bool
    bounds: Bounds
    exploration: Exploration
    surroundings: Ambient
    start: Start | None = None

    def forsake(self) -> None:
        """End what can be ended while the search hangs; call it from any thread."""
        if self.start is not None:
            self.start.forsake()

    async def search(self, loop: VirtualClockLoop) -> None:
        """Search to the end."""
        admin = await connect(self.servers, "postgres")
        try:
            self.start = start = await Start.made_by(self.setup, self.servers, admin)
            runner = Runner(
                loop,
                self.servers,
                start,
                self.workers,
                self.bounds.silence_seconds,
                leases_age=self.leases_age,
                limits_fire=self.limits_fire,
                ends_age=isinstance(self.judge, InvariantJudge),
            )
            search = Search(runner, self.judge, self.may_raise, self.bounds, self.exploration)
            with seldom_collected():
                await search.complete(*self._schedules())
            if not self.leases_age:
                self.exploration.notes.append(_AGELESS)
            if not self.limits_fire:
                self.exploration.notes.append(_LIMITLESS)
            if runner.lessons.bodies:
                text = shortened(min(runner.lessons.bodies), _MOST_OF_A_BODY)
                self.exploration.notes.append(_BODIES.format(text))
            self._keep()
        finally:
            if self.start is not None:
                await self.start.close()
            await drop(admin)
            await admin.close()

    def _schedules(self) -> tuple[Scheduler, Sequence[Schedule]]:
        """The scheduler, and what failed before."""
        around = self.surroundings
        if around.replay is not None:
            return ReplayScheduler(around.replay), ()
        return self.scheduler, around.memory.recall(around.name) if around.memory else ()

    def _keep(self) -> None:
        """Remember a failure for the next time; forget those of a search that is green."""
        memory, name = self.surroundings.memory, self.surroundings.name
        if memory is None or self.surroundings.replay is not None:
            return
        if self.exploration.verdict.is_green:
            memory.forget(name)
        elif self.exploration.counterexample is not None:
            memory.remember(name, self.exploration.counterexample.schedule)


def _servers(given: Servers | None, surroundings: Ambient, workers: Sequence[Body]) -> Servers:
    if not workers:
        raise ValueError("there are no workers to explore")
    servers = given or surroundings.servers
    if servers is None:
        raise ValueError(
            "no servers: ask for the fixtures postgres and redis in the test, or give servers="
        )
    return servers


def _name(worker: Body) -> str:
    if isinstance(worker, Process):
        return worker.name
    return str(getattr(worker, "__qualname__", type(worker).__name__)).rpartition("<locals>.")[2]
