"""Who blocks whom in words: blocked steps, deadlocks, and runs in which nobody can go on."""

from collections.abc import Mapping
from typing import Final

from contention.model.footprints import Footprint
from contention.model.steps import Blocker
from contention.wire.actors import Actor, text_of
from contention.wire.blocking import LockWaits, Wait
from contention.wire.deadlocks import (
    DEADLOCK_DETECTED,
    Circle,
    circle_of,
    told,
    wanted_by_victim,
)
from contention.wire.gate import Lane, Reply, Request
from contention.wire.postgres_messages import ServerMessage
from contention.wire.postgres_requests import PostgresReply
from contention.wire.quiet import Quiet, StageError
from contention.wire.redis_requests import RedisRequest
from contention.wire.story import Story

_NOBODY_YET: Final = "nobody yet"


class DeadEnds:
    """Explains waits for one run.

    Args:
        actors: everybody, by name.
        story: what has happened so far.
        locks: looks into PostgreSQL.

    Attributes:
        deadlocks: those that the server has ended, each as a sentence.
    """

    def __init__(self, actors: Mapping[str, Actor], story: Story, locks: LockWaits) -> None:
        self._actors = actors
        self._story = story
        self._locks = locks
        self.deadlocks: list[str] = []

    def blockers(
        self, lane: Lane, waits: Mapping[str, Wait], wanted: Footprint
    ) -> tuple[Blocker, ...]:
        """Whom a lane waits for.

        Args:
            lane: the waiter's.
            waits: all waits, by lane.
            wanted: what the waiter touches.
        """
        wait = waits.get(lane.name)
        if wait is None:
            return (Blocker(_NOBODY_YET, f"waits for {_keys(lane)}"),)
        what = wait.what(_statement(lane))
        found = []
        for pid in sorted(wait.blockers):
            holder = self._lane_of(pid)
            since = None
            if not wait.is_behind(waits.get(holder.name)):
                since = self._story.since(holder, what, wait.table, wanted)
            found.append(Blocker(holder.worker, what, since))
        return tuple(found)

    def is_wrong_victim(self, lane: Lane, reply: Reply) -> bool:
        """Whether a deadlock ended one who had waited before the circle was closed.

        The server looks once after the beginning of each wait, and a run goes on only when it has
        looked; unless the machine was so busy that its clock was late.
        """
        return _is_deadlock(reply) and self._story.waits(lane) is not None

    async def explain(
        self, lane: Lane, request: Request, reply: Reply, wanted: Footprint, source: str
    ) -> None:
        """If the reply says that its transaction was a deadlock's victim, tell the whole circle."""
        if not isinstance(reply, PostgresReply) or reply.error is None or not _is_deadlock(reply):
            return
        error = reply.error
        circle = circle_of(error)
        if not circle or not circle.backends <= self._backends():
            self.deadlocks.append(f"deadlock, as the server says: {error.detail or error.message}")
            return
        if self._story.waits(lane) is None:
            blocker = await self._victims_blocker(error, circle, wanted)
            self._story.blocked(lane, request, (blocker,), wanted, source)
        self.deadlocks.append(self._circle([self._lane_of(pid) for pid in circle.in_order]))

    async def told(self, quiet: Quiet) -> str:
        """Why nobody can go on, as a sentence.

        Raises:
            StageError: it is not certain that nobody ever will.
        """
        if quiet.cycle:
            return self._circle([self._named(name) for name in quiet.cycle])
        stuck = [actor for actor in self._actors.values() if not actor.has_ended]
        listening = quiet.messages.waiting
        silent = [
            actor.name
            for actor in stuck
            if not (actor.holding or actor.waiting or actor.name in listening)
        ]
        if silent:
            whys = [f"; {why}" for name in silent if (why := quiet.unheard.get(name))]
            raise StageError(f"{', '.join(silent)} neither ends, waits nor asks{''.join(whys)}")
        why = "; ".join(
            _of_message(actor.name, quiet) if actor.name in listening else self._why(actor)
            for actor in stuck
        )
        if doubt := self._doubt(stuck, quiet):
            raise StageError(f"nobody can go on, but {doubt}: {why}")
        return f"nobody can go on: {why}"

    def _doubt(self, stuck: list[Actor], quiet: Quiet) -> str:
        """Why it is not certain that they are stuck for ever; empty when it is."""
        polling = [one.name for one in stuck if one.holding and one.worker.is_elsewhere]
        if polling:
            return f"{', '.join(polling)} may give up in its own time"
        if quiet.has_time_limits:
            return "a time-out of the server may still fire"
        for actor in stuck:
            own = {
                blocker.actor for lane in actor.waiting for blocker in self._story.blockers_of(lane)
            }
            if own == {actor.name}:
                return (
                    f"{actor.name} waits for another connection of its own, whose transaction it "
                    "may still end"
                )
        return ""

    def _why(self, actor: Actor) -> str:
        if actor.holding is not None and actor.holding.held is not None:
            held = actor.holding.held
            return f"{actor.name} polls in vain with {text_of(held)}{self._owner(actor, held)}"
        waits = [
            f"{actor.name} waits for {', '.join(map(str, self._story.blockers_of(lane)))}"
            for lane in actor.waiting
        ]
        return "; ".join(waits)

    def _owner(self, actor: Actor, request: Request) -> str:
        """Who was the last to write what a poll asks about."""
        if not isinstance(request, RedisRequest):
            return ""
        step = self._story.last_writer(request.footprint)
        if step is None or step.actor == actor.name:
            return ""
        return f", which {step.actor} wrote in step {step.number} ({step.text})"

    async def _victims_blocker(
        self, error: ServerMessage, circle: Circle, wanted: Footprint
    ) -> Blocker:
        want = await wanted_by_victim(error, circle.links[0].lock, self._locks)
        holder = self._lane_of(circle.links[0].blocker)
        return Blocker(
            holder.worker, want.what, self._story.since(holder, want.what, want.table, wanted)
        )

    def _circle(self, lanes: list[Lane]) -> str:
        names = [lane.worker for lane in lanes]
        following = dict(zip(names, [*names[1:], names[0]], strict=True))
        return told([(lane.worker, self._story.blockers_of(lane)) for lane in lanes], following)

    def _lane_of(self, process_id: int) -> Lane:
        return next(lane for lane in self._lanes() if lane.process_id == process_id)

    def _named(self, name: str) -> Lane:
        return next(lane for lane in self._lanes() if lane.name == name)

    def _lanes(self) -> list[Lane]:
        return [lane for actor in self._actors.values() for lane in reversed(actor.lanes)]

    def _backends(self) -> set[int]:
        return {lane.process_id for lane in self._lanes() if lane.process_id is not None}


def _of_message(name: str, quiet: Quiet) -> str:
    asked_for = quiet.messages.asked_for(name)
    return f"{name} waits for a message ({asked_for}), and nobody is left to send one"


def _is_deadlock(reply: Reply) -> bool:
    error = reply.error if isinstance(reply, PostgresReply) else None
    return error is not None and error.sqlstate == DEADLOCK_DETECTED


def _statement(lane: Lane) -> str:
    return "; ".join(text_of(request) for request in lane.awaited)


def _keys(lane: Lane) -> str:
    keys = {
        resource.name
        for request in lane.awaited
        if isinstance(request, RedisRequest)
        for resource, _ in request.footprint.touches
    }
    return ", ".join(sorted(key.removeprefix("redis ") for key in keys)) or "the server"
