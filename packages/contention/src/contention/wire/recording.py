"""What one step did: every reply that came in its course, and who waits for whom at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contention.model.footprints import NOTHING, Footprint
from contention.model.schedules import worker_of
from contention.wire.actors import Actor, has_failed, is_step, result_of, text_of
from contention.wire.dead_ends import DeadEnds
from contention.wire.footprint_reader import FootprintReader
from contention.wire.gate import Lane, Reply, Request
from contention.wire.polls import Asked, changes, looks, touched_by
from contention.wire.postgres_requests import Execution
from contention.wire.preparations import Preparations
from contention.wire.quiet import Quiet, SpoiledError
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.row_queues import has_queue, overtaker
from contention.wire.story import Story

if TYPE_CHECKING:
    from contention.wire.blocking import Wait


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply that came in the course of a step.

    Attributes:
        ended: what the transaction touched that it ended; `None` when it ended none.
    """

    lane: Lane
    request: Request
    reply: Reply
    ended: Footprint | None

    @property
    def databases(self) -> set[int]:
        """The numbered databases of Redis that it ran in."""
        return {self.request.database} if isinstance(self.request, RedisRequest) else set()


class Recording:
    """Takes down replies while they come, and tells them in order once everybody rests.

    Replies on several sockets come in any order: the chosen worker's own is told first.

    Args:
        actors: everybody, by name.
        quiet: knows who waits for whom.
        footprints: what requests touch.
        story: is told the steps.
        ends: knows deadlocks.
        takes_any_order: whether a deadlock may end another worker than the one who closed it, and
            those who wait for one row may overtake one another.

    Attributes:
        sources: where each lane's request was made, by the lane's name.
        has_queued: whether several workers waited for one row at once, so that the server had a
            choice.
    """

    def __init__(
        self,
        actors: Mapping[str, Actor],
        quiet: Quiet,
        footprints: FootprintReader,
        story: Story,
        ends: DeadEnds,
        *,
        takes_any_order: bool,
    ) -> None:
        self._actors = actors
        self._quiet = quiet
        self._footprints = footprints
        self._story = story
        self._ends = ends
        self._takes_any_order = takes_any_order
        self._answered: list[Answered] = []
        self._freed: set[str] = set()
        self._waits_before: Mapping[str, Wait] = {}
        self._preparations = Preparations()
        self.sources: dict[str, str] = {}
        self.has_queued = False

    def begin(self) -> None:
        """A step begins."""
        self._answered = []
        self._freed = set()
        self._preparations.forget()
        self._waits_before = self._quiet.waits

    def arrived(self, lane: Lane, request: Request) -> bool:
        """A request came; whether it passes at once.

        Only steps are held, and what prepares one inside a transaction.
        """
        self._footprints.saw(lane, request)
        if self._is_step(lane, request):
            return self._preparations.are_followed_on(lane)
        return not self._preparations.take(lane, request)

    def ends_apart(self, lane: Lane, execution: Execution) -> bool:
        """Whether a statement outside of a transaction block ends in a step of its own."""
        return self._footprints.ends_apart(lane, execution)

    def expires(self, lane: Lane) -> None:
        """A time limit is about to end a lane's wait."""
        if lane.process_id is not None:
            self._footprints.expires(lane)

    def goes_on(self, lane: Lane, request: Request) -> None:
        """A held request is about to be let pass."""
        self._preparations.go_on(lane, request)

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """A reply has ended."""
        if lane.name in self._quiet.waits:
            self._freed.add(lane.worker)
        has_failed_early = self._preparations.have_failed(lane, request, reply)
        if has_failed_early or self._is_step(lane, request):
            ended = self._footprints.ended(lane, request)
            self._answered.append(Answered(lane, request, reply, ended))
        else:
            self._footprints.passed(lane, request, reply)
            self._story.prepared(lane)

    def closed(self, lane: Lane) -> None:
        """A connection is gone."""
        self._footprints.forget(lane)

    def moved(self, chosen: str) -> frozenset[str]:
        """Which other workers were answered or let go on in this step."""
        answered = {one.lane.worker for one in self._answered}
        return frozenset((answered | self._freed) - {worker_of(chosen)})

    @property
    def answered(self) -> Sequence[Answered]:
        """The replies of this step."""
        return self._answered

    @property
    def databases(self) -> set[int]:
        """The numbered databases of Redis that this step's requests ran in."""
        return {number for one in self._answered for number in one.databases}

    async def tell(self, chosen: str) -> tuple[Footprint, Footprint]:
        """Tell all that happened in this step; what it touched, and what of that was in Redis.

        Args:
            chosen: the lane that went on; its worker's own replies are told first.

        Raises:
            SpoiledError: the servers did not do what they do when the same steps are taken again.
        """
        whole, of_redis = NOTHING, NOTHING
        ordered = sorted(self._answered, key=lambda one: _place(one.lane, chosen))
        for one in ordered:
            footprint = await self._touched(one)
            await self._tell_answer(one, footprint)
            whole = whole.joined([footprint])
            if isinstance(one.request, RedisRequest):
                of_redis = of_redis.joined([footprint])
        whole = whole.joined([await self._tell_waits()])
        self._check_queues()
        left = self._footprints.left_behind()
        self.disturb("", left)
        return whole.joined([left]), of_redis

    def disturb(self, by: str, footprint: Footprint) -> None:
        """Whoever polls for what was touched may get another answer now."""
        for actor in self._actors.values():
            if actor.name != by:
                actor.polls.disturbed_by(footprint)

    async def _tell_answer(self, one: Answered, footprint: Footprint) -> None:
        source = self.sources.get(one.lane.name, "")
        if self._ends.is_wrong_victim(one.lane, one.reply) and not self._takes_any_order:
            raise SpoiledError(f"{one.lane.worker} was a deadlock's victim in spite of its wait")
        await self._ends.explain(one.lane, one.request, one.reply, footprint, source)
        self._story.answered(one.lane, one.request, one.reply, footprint, source)
        actor = self._actors[one.lane.worker]
        actor.polls.remember(_asked(one, footprint))
        if not actor.polls.has_only_looked:
            self.disturb(actor.name, footprint)

    def _check_queues(self) -> None:
        """See that nobody has been overtaken by who asked for the same row later."""
        waits = self._quiet.waits
        self.has_queued |= has_queue(waits)
        lanes = {lane.name: lane for actor in self._actors.values() for lane in actor.waiting}
        answered = {one.lane.name for one in self._answered if not has_failed(one.reply)}

        def asked_at(name: str) -> int | None:
            step = self._story.waits(lanes[name]) if name in lanes else None
            return step.number if step else None

        early = overtaker(self._waits_before, waits, answered, asked_at)
        if early and not self._takes_any_order:
            raise SpoiledError(f"{early} overtook another in the queue for a row")

    async def _touched(self, one: Answered) -> Footprint:
        if one.ended is not None:
            return one.ended
        if isinstance(one.request, RedisRequest) and isinstance(one.reply, RedisReply):
            return touched_by(one.request, one.reply)
        return await self._footprints.of(one.lane, one.request, one.reply)

    async def _tell_waits(self) -> Footprint:
        """Tell who has come to wait; what they touch."""
        whole = NOTHING
        waiting = [lane for actor in self._actors.values() for lane in actor.waiting]
        for lane in waiting:
            if self._story.waits(lane) is None:
                footprint = await self._touched_so_far(lane)
                blockers = self._ends.blockers(lane, self._quiet.waits, footprint)
                source = self.sources.get(lane.name, "") if is_step(lane.awaited[0]) else ""
                self._story.blocked(lane, lane.awaited[0], blockers, footprint, source)
                whole = whole.joined([footprint])
        return whole

    async def _touched_so_far(self, lane: Lane) -> Footprint:
        request = lane.awaited[0]
        if isinstance(request, RedisRequest):
            return request.footprint
        return await self._footprints.so_far(lane, request)

    def _is_step(self, lane: Lane, request: Request) -> bool:
        footprints = self._footprints
        of_weight = is_step(request) and not footprints.ends_nothing(lane, request)
        return of_weight or footprints.is_looking(lane, request)


def _place(lane: Lane, chosen: str) -> tuple[bool, bool, str]:
    return lane.name != chosen, lane.worker != worker_of(chosen), lane.name


def _asked(one: Answered, footprint: Footprint) -> Asked:
    text, result = text_of(one.request), result_of(one.reply)
    return Asked(
        text,
        one.reply,
        footprint,
        looks(one.request, text, result),
        changes(one.request, one.reply, result),
    )
