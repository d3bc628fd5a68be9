"""The stage: workers behind gates, moved one request at a time.

Between two steps every worker has come to rest: it holds a request at its gate, waits for the
server, or has ended. A worker that sleeps is woken at once, as its next request can be held for as
long as one likes; but a poll that would get the same answer again is parked until somebody touches
what it asks about.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from contention.model.footprints import NOTHING, Footprint
from contention.model.steps import Blocker, Link, Step
from contention.wire.actors import Actor, is_step, result_of, text_of
from contention.wire.backends import Backends
from contention.wire.broker import BrokerKeeper
from contention.wire.events import Failure
from contention.wire.footprint_reader import FootprintReader
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.locks_seen import LockWatcher
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.redis_scripts import Scripts
from contention.wire.servers import Links, Servers
from contention.wire.silence import Silence
from contention.wire.virtual_loop import GO_ON, VirtualClockLoop
from contention.wire.workers import Body, WorkerStaysError
from contention.wire.workers_kinds import worker_for

_NAP_SECONDS: Final = 0.0005
_ASK_AFTER_SECONDS: Final = 0.002
_LOOK_SECONDS: Final = 0.02
_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"


class StageError(Exception):
    """A run that cannot be judged, with the reason: its verdict is UNKNOWN."""


class Stage:
    """Workers behind gates, and the kit's look into the servers; for one run.

    Args:
        loop: the loop in which everything runs.
        servers: whose database and keys are those of this run.
        watcher: looks into the run's database.
        folder: for the gates' sockets; its path is short.
        silence_seconds: how long a worker may do nothing before it is not waited for any more.
        backends: serve the workers' connections to PostgreSQL one after another.
    """

    def __init__(
        self,
        loop: VirtualClockLoop,
        servers: Servers,
        watcher: LockWatcher,
        folder: Path,
        silence_seconds: float,
        *,
        backends: Backends | None = None,
    ) -> None:
        self._loop = loop
        self._servers = servers
        self._watcher = watcher
        self._folder = folder
        self._backends = backends
        self._actors: dict[str, Actor] = {}
        self._gates: list[Gate] = []
        self._scripts = Scripts()
        self._idle: asyncio.Future[None] | None = None
        self._moved_at = time.monotonic()
        self._look_at = 0.0
        self._silence = Silence(silence_seconds)
        self._silent: set[str] = set()
        self._answered: list[tuple[Lane, Request, Reply, Footprint | None]] = []
        self._footprints = FootprintReader(watcher)
        self._sources: dict[str, str] = {}
        self._blocked: set[str] = set()
        self._failures: list[Failure] = []
        self.steps: list[Step] = []
        self.broker = BrokerKeeper(self._moved, self.failed)

    # --- what the gates tell -------------------------------------------------------------------

    def opened(self, lane: Lane) -> None:
        """A worker opened a connection."""
        lanes = self._actors[lane.worker].lanes
        lanes.append(lane)
        # Each gate counts its own; the names of a worker's connections must differ.
        lane.number = len(lanes)
        self._moved(lane.worker)

    def arrived(self, lane: Lane, request: Request) -> bool:
        """A request came; only steps are held."""
        self._moved(lane.worker)
        self._footprints.saw(lane, request)
        return not self._is_step(lane, request)

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """A reply has ended."""
        self._moved(lane.worker)
        self._blocked.discard(lane.name)
        if not self._is_step(lane, request):
            self._footprints.passed(lane, request, reply)
        else:
            actor = self._actors[lane.worker]
            actor.last_text, actor.is_stale = text_of(request), actor.last_reply != reply
            actor.last_reply = reply
            ended = self._footprints.ended(lane, request)
            self._answered.append((lane, request, reply, ended))

    def failed(self, lane: Lane, failure: Failure) -> None:
        """A connection that cannot be understood: the run cannot be judged."""
        self._moved(lane.worker)
        self._failures.append(failure)

    def closed(self, lane: Lane) -> None:
        """A connection is gone."""
        self._moved(lane.worker)
        self._footprints.forget(lane)
        self._blocked.discard(lane.name)

    # --- what the explorer does ----------------------------------------------------------------

    async def enter(self, bodies: Sequence[Body]) -> None:
        """Bring each worker on, behind gates of its own, up to its first request."""
        for number, body in enumerate(bodies, start=1):
            name = f"w{number}"
            links = await self._open_links(name)
            self._actors[name] = Actor(
                name, worker_for(name, body, self._loop, partial(self._moved, name))
            )
            self._actors[name].worker.start(links)
        await self._rest()

    def options(self) -> list[str]:
        """Who can go on; parked workers only when nobody else can."""
        holding = [actor for actor in self._actors.values() if actor.holding]
        free = [actor.name for actor in holding if not actor.is_parked]
        return free or [actor.name for actor in holding]

    async def step(self, name: str) -> Footprint:
        """Let a worker's held request go on, and wait until everybody rests again."""
        actor = self._actors[name]
        lane = actor.holding
        if lane is None or lane.held is None:
            raise StageError(f"{name} has no request to let go on")
        request = lane.held
        if actor.is_parked:
            # Only time can change its answer now: let it see that time passes.
            due = self._loop.next_timer_at()
            self._loop.move_to(due if due is not None else self._loop.time())
        self._answered = []
        self._sources[lane.name] = actor.worker.asks_at(text_of(request))
        self._moved()
        lane.let_pass()
        await self._rest()
        footprint = NOTHING
        # Replies on several sockets come in any order: the chosen worker's own is told first.
        answered = sorted(self._answered, key=lambda one: (one[0].worker != name, one[0].name))
        for answering, asked, reply, ended in answered:
            self._record(answering, asked, result_of(reply))
            touched = ended or await self._footprints.of(answering, asked, reply)
            self._actors[answering.worker].last_footprint = touched
            footprint = footprint.joined([touched])
        if lane.is_awaiting_reply:
            self._record(lane, request, "blocked", (Blocker("another worker"),))
            footprint = footprint.joined([await self._footprints.so_far(lane, request)])
        footprint = footprint.joined([self._footprints.left_behind()])
        for other in self._actors.values():
            if other.name != name and other.last_footprint.conflicts_with(footprint):
                other.is_stale = True
        return footprint

    def _record(
        self, lane: Lane, request: Request, result: str, blocked_by: tuple[Blocker, ...] = ()
    ) -> None:
        link = Link.POSTGRES if isinstance(lane.framing, PostgresFraming) else Link.REDIS
        self.steps.append(
            Step(
                number=len(self.steps) + 1,
                actor=lane.worker,
                lane=lane.name,
                link=link,
                text=text_of(request),
                result=result,
                source=self._sources.get(lane.name, ""),
                blocked_by=blocked_by,
            )
        )

    @property
    def lanes(self) -> list[Lane]:
        """All connections of the workers, those to brokers apart; also those that are closed."""
        return [lane for actor in self._actors.values() for lane in actor.lanes]

    @property
    def has_ended(self) -> bool:
        """Whether every worker has ended."""
        return all(actor.has_ended for actor in self._actors.values())

    @property
    def stuck(self) -> list[str]:
        """Workers that wait for a server or for nothing anybody can give them."""
        return [actor.name for actor in self._actors.values() if not actor.has_ended]

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
        stops = [actor.worker.stop() for actor in self._actors.values()]
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(error, WorkerStaysError):
                raise StageError(str(error)) from error
            if isinstance(error, BaseException):
                raise error

    # --- coming to rest ------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Wait until every worker holds a request, is known to be blocked, or has ended.

        A worker that has been silent for too long is not waited for until it moves again.
        """
        self._loop.observer = self._observe
        while True:
            self._idle = self._loop.create_future()
            await self._idle
            self._idle = None
            if self._failures:
                raise StageError(str(self._failures[0]))
            if self._wake_a_sleeper():
                continue
            waiting = [lane for actor in self._actors.values() for lane in actor.waiting]
            if not self._have_all_come_to_rest():
                self._look_in(_LOOK_SECONDS)
            elif not waiting:
                return
            elif (passed := time.monotonic() - self._moved_at) < _ASK_AFTER_SECONDS:
                self._look_in(_ASK_AFTER_SECONDS - passed)
            elif await self._all_blocked(waiting):
                return

    def _observe(self) -> float:
        """The loop is idle: go on at once, or when it is time to look again."""
        if self._idle is None or self._idle.done() or self._is_in_between():
            return _NAP_SECONDS
        wait = self._look_at - time.monotonic()
        if wait > 0:
            return wait
        self._idle.set_result(None)
        return GO_ON

    def _is_in_between(self) -> bool:
        """Whether a connection is being opened, or what it left is being undone."""
        return any(
            lane.is_leaving
            or (lane.process_id is None and isinstance(lane.framing, PostgresFraming))
            for actor in self._actors.values()
            for lane in actor.lanes
            if lane.is_open
        )

    def _have_all_come_to_rest(self) -> bool:
        """Whether nobody goes on by itself, as far as those tell who are not silent."""
        moving = [actor for actor in self._actors.values() if not actor.is_at_rest]
        waited_for = [actor for actor in moving if actor.name not in self._silent]
        if waited_for and self._silence.is_over({a.name: a.worker.cpu_seconds for a in waited_for}):
            self._silent.update(actor.name for actor in waited_for)
            return True
        return not waited_for

    def _look_in(self, seconds: float) -> None:
        self._look_at = time.monotonic() + seconds

    def _wake_a_sleeper(self) -> bool:
        """Fire the earliest timer of a worker that has nothing else to wait for."""
        return any(not actor.is_at_rest and actor.worker.wake() for actor in self._actors.values())

    async def _all_blocked(self, waiting: Sequence[Lane]) -> bool:
        """Whether the server says of every waiting request that one of us blocks it."""
        of_postgres = {lane.process_id: lane for lane in waiting if lane.process_id is not None}
        if len(of_postgres) < len(waiting):
            return False
        ours = {lane.process_id for actor in self._actors.values() for lane in actor.lanes}
        blockers = await self._watcher.blockers(list(of_postgres))
        for pid, lane in of_postgres.items():
            found = blockers.get(pid, frozenset())
            if not found:
                return False
            if strangers := found - ours:
                raise StageError(
                    f"{lane.name} waits for backend {min(strangers)}, nobody of the test"
                )
        self._blocked = {lane.name for lane in waiting}
        return any(actor.holding for actor in self._actors.values()) or not self._is_cycle(blockers)

    def _is_cycle(self, blockers: Mapping[int, frozenset[int]]) -> bool:
        """Whether everybody waits for somebody who waits: the server will choose a victim."""
        return all(found & set(blockers) for found in blockers.values())

    def _is_step(self, lane: Lane, request: Request) -> bool:
        return is_step(request) or self._footprints.is_looking(lane, request)

    def _moved(self, name: str = "") -> None:
        self._moved_at = time.monotonic()
        self._look_at = 0.0
        self._silent.discard(name)
        self._silence.broken()

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
