"""Coming to rest: nobody is chosen before everybody has nothing left to do but to wait.

A worker rests when it holds a request at its gate, waits for somebody who is known, or has ended.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from contention.wire.actors import Actor, text_of
from contention.wire.blocking import LockWaits, Wait, cycle_among
from contention.wire.deadlock_checks import DeadlockChecks
from contention.wire.events import Failure
from contention.wire.expiries import Expiries
from contention.wire.gate import Lane
from contention.wire.messages import Messages
from contention.wire.own_limits import OwnLimits
from contention.wire.postgres import PostgresFraming
from contention.wire.redis_clients import RedisClients
from contention.wire.silence import Silence
from contention.wire.sleepers import Sleepers, is_told
from contention.wire.virtual_loop import GO_ON, VirtualClockLoop

if TYPE_CHECKING:
    from asyncio import Future

_NAP_SECONDS: Final = 0.0005
_ASK_AFTER_SECONDS: Final = 0.002
"""After so long the server is asked whatever is known by then."""
_SOON_SECONDS: Final = 0.0003
"""So long most replies take at the most; who has slept for so long is likely to wait."""
_WATCH_AFTER_SECONDS: Final = 0.00105
_WATCH_SECONDS: Final = 0.00015
_PAUSE_SHARE: Final = 8
_LOOK_SECONDS: Final = 0.02
_GRACE_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 15.0


class StageError(Exception):
    """A run that cannot be judged, with the reason: its verdict is UNKNOWN."""


class SpoiledError(StageError):
    """The servers did something by their own clocks that the same steps need not lead to again."""


class Quiet:
    """Waits until everybody rests, and knows then who waits for whom.

    Args:
        loop: the loop in which everything runs.
        actors: everybody, by name.
        locks: looks into PostgreSQL.
        clients: looks into Redis.
        expiries: the time limits that run.
        silence_seconds: how long a worker may do nothing before it is not waited for any more.

    Attributes:
        waits: who waited for whom when everybody rested, by the waiting lane's name.
        limited: workers whose wait might have ended by itself while others could go on, though
            nobody can say by which limit.
        messages: knows who waits for one.
        own_limits: knows whose own time limits may fire.
        cycle: lanes that wait for one another for ever, on a server that would look for deadlocks
            only much later; empty elsewhere.
    """

    def __init__(
        self,
        loop: VirtualClockLoop,
        actors: Mapping[str, Actor],
        locks: LockWaits,
        clients: RedisClients,
        expiries: Expiries,
        *,
        silence_seconds: float,
    ) -> None:
        self._loop = loop
        self._actors = actors
        self._locks = locks
        self._clients = clients
        self._expiries = expiries
        self._owed: tuple[Lane, int] | None = None
        self._idle: Future[None] | None = None
        self._moved_at = time.monotonic()
        self._failures: list[str] = []
        self._leaving: set[int] = set()
        self._look_at = 0.0
        self._checks = DeadlockChecks()
        self._looks_late = False
        self._silence = Silence(silence_seconds)
        self._sleepers = Sleepers(actors, silence_seconds)
        self.messages = Messages(actors, loop)
        self.own_limits = OwnLimits(actors, self.messages, expiries)
        self.waits: dict[str, Wait] = {}
        self.limited: set[str] = set()
        self.cycle: tuple[str, ...] = ()

    def moved(self, name: str = "") -> None:
        """Something happened, to a worker if it has a name."""
        self._moved_at = time.monotonic()
        self._look_at = 0.0
        self.messages.moved()
        self.own_limits.moved(name)
        self._sleepers.moved(name)
        self._silence.broken()

    @property
    def unheard(self) -> Mapping[str, str]:
        """Workers that were not waited for at some moment, and why, if that is known."""
        return self._sleepers.unheard

    @property
    def has_time_limits(self) -> bool:
        """Whether a wait may still end by itself."""
        return bool(self._expiries.unclear) or self._expiries.are_running

    def note_limited(self, worker: str) -> None:
        """A limit that nobody knows has ended a worker's wait."""
        if any(actor.holding for actor in self._actors.values() if actor.name != worker):
            self.limited.add(worker)

    def owes(self, lane: Lane) -> None:
        """What a lane waits for is on its way, whatever the servers say of its wait meanwhile."""
        self._owed = (lane, lane.awaited[0].number)

    def failed(self, lane: Lane, failure: Failure) -> None:
        """A connection cannot be understood."""
        self.moved(lane.worker)
        self._failures.append(f"{lane.worker}: {failure}")

    def closed(self, lane: Lane) -> None:
        """A connection is gone; its backend may hold its locks until it has noticed that."""
        self.moved(lane.worker)
        if lane.process_id is not None and not lane.has_let_go:
            self._leaving.add(lane.process_id)

    async def comes(self) -> None:
        """Wait until everybody rests.

        A worker that has been silent for too long is not waited for until it moves again.

        Raises:
            StageError: somebody waits for who knows what.
        """
        self._loop.observer = self._observe
        self._sleepers.step_begins()
        self.moved()
        while True:
            self._idle = self._loop.create_future()
            await self._idle
            self._idle = None
            if self._loop.blocked_reason:
                raise StageError(self._loop.blocked_reason)
            if self._failures:
                raise StageError(self._failures[0])
            if await self.messages.come(_ANSWER_SECONDS):
                self._look_at = 0.0
            elif not self._wake_a_sleeper() and await self._is_there():
                return

    async def _is_there(self) -> bool:
        if not self._have_all_come_to_rest():
            self._look_in(_LOOK_SECONDS)
            return False
        waiting = self._waiting()
        if not (waiting or self._leaving):
            self._nobody_waits()
            return True
        if self._is_owed():
            self._bound_patience(waiting)
            self._look_in(_WATCH_SECONDS)
            return False
        passed = time.monotonic() - self._moved_at
        if pause := self._pause_before_asking(waiting, passed):
            self._look_in(pause)
            return False
        # What moved while the servers were asked has made their answers old.
        seen_at = self._moved_at
        is_known = await self._is_known(waiting)
        if self._moved_at != seen_at:
            return False
        if not is_known:
            self._look_in(min(_LOOK_SECONDS, max(_WATCH_SECONDS, passed / _PAUSE_SHARE)))
        return is_known

    def _pause_before_asking(self, waiting: Sequence[Lane], passed: float) -> float:
        """For how long not to ask the servers yet; 0 when it is time."""
        if passed >= _ASK_AFTER_SECONDS or not waiting:
            return 0.0
        if passed < _SOON_SECONDS:
            return _SOON_SECONDS - passed
        new = [lane.process_id for lane in waiting if lane.name not in self.waits]
        backends = [number for number in new if number is not None]
        if self._looks_late or not backends or self._checks.watch(backends):
            return 0.0
        return max(_WATCH_SECONDS, _WATCH_AFTER_SECONDS - passed)

    async def _is_known(self, waiting: Sequence[Lane]) -> bool:
        """Whether the servers say whom everybody waits for who waits."""
        # A kept backend that serves somebody again has let go of all that it held before.
        self._leaving -= {lane.process_id for lane in self._open_lanes()}
        if self._leaving:
            if await self._locks.hold_locks(self._leaving):
                return False
            self._leaving.clear()
        if not waiting:
            self._nobody_waits()
            return True
        if not await self._are_blocked(waiting):
            self._bound_patience(waiting)
            return False
        self._expiries.look(waiting, self.waits)
        return not self._may_end_by_itself()

    def _nobody_waits(self) -> None:
        self.waits, self.cycle = {}, ()
        self._expiries.look([], {})

    def _is_owed(self) -> bool:
        if self._owed is not None:
            lane, number = self._owed
            if lane.is_open and any(request.number == number for request in lane.awaited):
                return True
            self._owed = None
        return False

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
        return any(_is_in_between(lane) for actor in self._actors.values() for lane in actor.lanes)

    def _have_all_come_to_rest(self) -> bool:
        """Whether nobody goes on by itself, as far as those tell who are not silent."""
        listening = self.messages.waiting
        moving = [
            actor
            for actor in self._actors.values()
            if not (actor.is_at_rest or actor.name in listening)
        ]
        waited_for = [actor for actor in moving if actor.name not in self._sleepers.silent]
        if waited_for and (
            self._silence.is_over({a.name: a.worker.cpu_seconds for a in waited_for})
            or self._sleepers.wait_in_vain(
                waited_for, self._moved_at, others_can_go_on=self._can_others_go_on
            )
        ):
            self._sleepers.give_up(waited_for)
            return True
        return not waited_for

    def _can_others_go_on(self, actor: Actor) -> bool:
        """Whether anybody but one who waits for a message does something, or can."""
        others = [one for one in self._actors.values() if one is not actor]
        return self._expiries.are_running or any(
            one.holding or not (one.is_at_rest or one.name in self._sleepers.silent or is_told(one))
            for one in others
        )

    def _look_in(self, seconds: float) -> None:
        self._look_at = time.monotonic() + seconds

    def _open_lanes(self) -> list[Lane]:
        lanes = [lane for actor in self._actors.values() for lane in actor.lanes]
        return [lane for lane in lanes if lane.is_open]

    def _waiting(self) -> list[Lane]:
        return [lane for actor in self._actors.values() for lane in actor.waiting]

    def _bound_patience(self, waiting: Sequence[Lane]) -> None:
        if time.monotonic() - self._moved_at > _ANSWER_SECONDS:
            lane = waiting[0]
            raise StageError(
                f"{lane.worker} has waited {_ANSWER_SECONDS:g} s for a reply, and the server "
                f"names nobody whom it waits for: {_asked(lane)}"
            )

    def _may_end_by_itself(self) -> bool:
        """Whether nobody can go on and time alone might end a wait: then time has to pass."""
        unclear = self._expiries.unclear
        if any(actor.holding for actor in self._actors.values()) or self._expiries.options():
            self.limited.update(lane.worker for lane in unclear)
            return False
        limits = [self._clients.limit_seconds(lane) for lane in unclear]
        longest = max((limit for limit in limits if limit is not None), default=0.0)
        if any(lane.process_id is not None for lane in unclear):
            longest = max(longest, _ANSWER_SECONDS)
        return longest > 0 and time.monotonic() - self._moved_at < longest + _GRACE_SECONDS

    def _wake_a_sleeper(self) -> bool:
        """Let time pass for a worker that has nothing else to wait for."""
        return self._sleepers.wake_one(
            self._moved_at, self.messages.waiting, others_can_go_on=self._can_others_go_on
        )

    async def _are_blocked(self, waiting: Sequence[Lane]) -> bool:
        """Whether the servers say of every waiting request whom it waits for."""
        of_postgres = {lane.process_id: lane for lane in waiting if lane.process_id is not None}
        of_redis = [lane for lane in waiting if lane.process_id is None]
        if of_redis and not await self._clients.are_blocked(of_redis):
            return False
        waits = await self._locks.of(list(of_postgres)) if of_postgres else {}
        told_at = time.monotonic()
        if set(waits) != set(of_postgres) or not await self._are_ours(of_postgres, waits):
            return False
        self.waits = {of_postgres[pid].name: wait for pid, wait in waits.items()}
        return await self._are_settled(waits, told_at)

    async def _are_ours(self, of_postgres: Mapping[int, Lane], waits: Mapping[int, Wait]) -> bool:
        """Whether everybody waits for open connections of the test.

        Raises:
            StageError: somebody waits for a stranger.
        """
        lanes = {lane.process_id: lane for actor in self._actors.values() for lane in actor.lanes}
        for pid, wait in waits.items():
            for blocker in sorted(wait.blockers):
                if blocker not in lanes:
                    who = await self._locks.described(blocker)
                    lane = of_postgres[pid]
                    raise StageError(
                        f"{lane.worker} waits for {who}, nobody of the test: {_asked(lane)}"
                    )
                if not lanes[blocker].is_open:
                    return False
        return True

    async def _are_settled(self, waits: Mapping[int, Wait], told_at: float) -> bool:
        """Whether the server has looked for a deadlock after the latest of these waits, in vain.

        So a deadlock is found by whoever closes the circle, each time, and not by whoever is
        the first to look. Where the server looks only much later, the circle itself is taken.
        """
        patient = [wait for wait in waits.values() if not wait.is_soon_resolved]
        has_circle = cycle_among({str(pid): map(str, wait.blockers) for pid, wait in waits.items()})
        self._looks_late = bool(patient)
        if not patient:
            self.cycle = ()
            # On a busy machine the server looks late; a circle that is there will be broken.
            return not has_circle and self._checks.are_made(waits.values(), told_at)
        self.cycle = await self._true_cycle(list(waits)) if has_circle else ()
        return True

    async def _true_cycle(self, process_ids: Sequence[int]) -> tuple[str, ...]:
        lanes = {
            str(lane.process_id): lane.name
            for actor in self._actors.values()
            for lane in actor.lanes
        }
        hard = await self._locks.holders(process_ids)
        found = cycle_among({str(pid): map(str, holders) for pid, holders in hard.items()})
        names = [lanes[pid] for pid in found]
        # Process ids differ from run to run: a circle begins with the first of its workers.
        first = names.index(min(names)) if names else 0
        return tuple(names[first:] + names[:first])


def _is_in_between(lane: Lane) -> bool:
    """Whether a connection is being opened, or what it left is being undone."""
    is_postgres = isinstance(lane.framing, PostgresFraming)
    is_logging_in = lane.is_open and is_postgres and lane.process_id is None
    return lane.is_connecting or lane.is_leaving or is_logging_in


def _asked(lane: Lane) -> str:
    """What a lane awaits the reply to."""
    return "; ".join(text_of(request) for request in lane.awaited)
