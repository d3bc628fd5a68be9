"""Run workers under every order of their requests that matters, on real servers."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from contention.model.schedules import Choice, Schedule
from contention.model.steps import Effect
from contention.model.verdicts import Verdict, VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.scheduler import NotDeterministicError, Scheduler
from contention.wire.actors import Step
from contention.wire.locks_seen import LockWatcher
from contention.wire.servers import Links, Servers
from contention.wire.stage import Body, Stage, StageError
from contention.wire.virtual_loop import VirtualClockLoop

_TEMPLATE = "contention_template"
_RUN = "contention_run"

Check = Callable[[Links], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A run that broke the promise: its schedule, what was done, and what was wrong."""

    schedule: Schedule
    steps: tuple[Step, ...]
    reason: str

    def __str__(self) -> str:
        lines = [f"  {step.actor}  {step.text}  ->  {step.result}" for step in self.steps]
        return "\n".join([self.reason, *lines, f"replay: {self.schedule.token()}"])


@dataclass(slots=True)
class Exploration:
    """What a search found."""

    verdict: Verdict
    schedules: int = 0
    counterexample: Counterexample | None = None
    outcomes: list[dict[str, object]] = field(default_factory=list)


class PromiseBrokenError(AssertionError):
    """A search whose verdict is not green; it carries the exploration."""

    def __init__(self, exploration: Exploration) -> None:
        super().__init__(f"{exploration.verdict}\n{exploration.counterexample or ''}".rstrip())
        self.exploration = exploration


async def explore(
    *workers: Body,
    setup: Check,
    invariant: Check,
    servers: Servers,
    scheduler: Scheduler | None = None,
    may_raise: tuple[type[BaseException], ...] = (),
    most_schedules: int = 2_000,
) -> Exploration:
    """Run the workers from ``setup`` under every schedule that matters.

    Raises:
        PromiseBrokenError: a schedule broke the invariant, a worker raised something that
            ``may_raise`` does not name, or the search could not be finished.
    """
    search = _Search(workers, setup, invariant, servers, may_raise, most_schedules)
    exploration = await asyncio.to_thread(search.complete, scheduler or ExhaustiveScheduler())
    if not exploration.verdict.is_green:
        raise PromiseBrokenError(exploration)
    return exploration


@dataclass(slots=True)
class _Search:
    workers: Sequence[Body]
    setup: Check
    invariant: Check
    servers: Servers
    may_raise: tuple[type[BaseException], ...]
    most_schedules: int

    def complete(self, scheduler: Scheduler) -> Exploration:
        loop = VirtualClockLoop()
        try:
            return loop.run_until_complete(self._search(loop, scheduler))
        finally:
            loop.close()

    async def _search(self, loop: VirtualClockLoop, scheduler: Scheduler) -> Exploration:
        exploration = Exploration(Verdict(VerdictKind.UNKNOWN, reason="nothing was run"))
        admin = await _connect(self.servers, "postgres")
        try:
            start = await self._prepare(admin)
            while scheduler.start():
                if exploration.schedules >= self.most_schedules:
                    exploration.verdict = Verdict(
                        VerdictKind.UNKNOWN, reason=f"{self.most_schedules} schedules ran out"
                    )
                    return exploration
                exploration.schedules += 1
                await start.restore(admin)
                broken = await self._run(loop, scheduler)
                if broken is not None:
                    exploration.counterexample = broken
                    exploration.verdict = Verdict(VerdictKind.ILLEGAL, reason=broken.reason)
                    return exploration
            exploration.verdict = (
                Verdict(VerdictKind.LEGAL)
                if scheduler.is_complete
                else Verdict(VerdictKind.UNKNOWN, reason=f"left out: {scheduler.cut_reason}")
            )
        except (StageError, NotDeterministicError) as error:
            exploration.verdict = Verdict(VerdictKind.UNKNOWN, reason=str(error))
        finally:
            await _drop(admin)
            await admin.close()
        return exploration

    async def _prepare(self, admin: "asyncpg.Connection[asyncpg.Record]") -> "_Start":
        """Run ``setup`` once, and remember what it made."""
        await _drop(admin)
        await admin.execute(f"CREATE DATABASE {_TEMPLATE}")
        client = Redis.from_url(self.servers.redis.url)
        await client.flushall()
        await client.aclose()
        before = self.servers.postgres.using(_TEMPLATE)
        await self.setup(Links(before.url, self.servers.redis.url))
        return await _Start.of(self.servers)

    async def _run(self, loop: VirtualClockLoop, scheduler: Scheduler) -> Counterexample | None:
        own = Servers(self.servers.postgres.using(_RUN), self.servers.redis)
        links = Links(own.postgres.url, own.redis.url)
        folder = Path(tempfile.mkdtemp(prefix="ct-"))
        watching = await _connect(self.servers, _RUN)
        stage = Stage(loop, own, await LockWatcher.on(watching), folder)
        choices: list[Choice] = []
        try:
            await stage.enter(self.workers)
            while options := stage.options():
                chosen = scheduler.choose(options)
                if chosen is None:
                    return None
                choices.append(Choice(chosen))
                scheduler.executed(Effect(await stage.step(chosen)))
            reason = self._wrong_end(stage)
        finally:
            await stage.leave()
            await watching.close()
            shutil.rmtree(folder, ignore_errors=True)
        if not reason:
            reason = await self._broken(links)
        if not reason:
            return None
        return Counterexample(Schedule(tuple(choices)), tuple(stage.steps), reason)

    def _wrong_end(self, stage: Stage) -> str:
        if not stage.has_ended:
            raise StageError(f"{', '.join(stage.stuck)} neither ends, waits nor asks")
        for name, result in stage.results().items():
            if isinstance(result, BaseException) and not isinstance(result, self.may_raise):
                return f"{name} raised {type(result).__name__}: {result}"
        return ""

    async def _broken(self, links: Links) -> str:
        try:
            verdict = await self.invariant(links)
        except AssertionError as error:
            return f"the invariant does not hold: {str(error) or 'an assertion failed'}"
        return "the invariant does not hold" if verdict is False else ""


async def _connect(servers: Servers, database: str) -> "asyncpg.Connection[asyncpg.Record]":
    postgres = servers.postgres
    return await asyncpg.connect(
        host=str(postgres.folder), port=postgres.port, user=postgres.user, database=database
    )


@dataclass(frozen=True, slots=True)
class _Start:
    """The state from which every run begins: a template database, and keys with what they hold."""

    servers: Servers
    keys: tuple[tuple[bytes, bytes, int], ...]

    @classmethod
    async def of(cls, servers: Servers) -> "_Start":
        client = Redis.from_url(servers.redis.url)
        keys = []
        for name in await client.keys("*"):
            dumped = await client.dump(name)
            if isinstance(name, bytes) and dumped is not None:
                keys.append((name, dumped, max(0, await client.pttl(name))))
        await client.aclose()
        return cls(servers, tuple(keys))

    async def restore(self, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
        await admin.execute(f"DROP DATABASE IF EXISTS {_RUN} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {_RUN} TEMPLATE {_TEMPLATE}")
        client = Redis.from_url(self.servers.redis.url)
        await client.flushall()
        await client.script_flush()
        for name, dumped, remaining_ms in self.keys:
            await client.restore(name, remaining_ms, dumped)
        await client.aclose()


async def _drop(admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    for name in (_RUN, _TEMPLATE):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
