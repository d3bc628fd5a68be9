"""Who polls in vain is left out of the options, once nothing new can come of it.

A loop that asks the same with the same answer may do so for ever, or so many times, or until a
moment. Time passes for it as soon as it is let poll again, so a moment is found at once where the
clock is the kit's to move. How many times it would ask has to be tried out.
"""

from collections.abc import Callable, Sequence

from contention.wire.actors import Actor
from contention.wire.gate import Request
from contention.wire.lessons import Lessons, Poll
from contention.wire.redis_requests import RedisRequest

_MOST_REAL_POLLS = 200


class Patience:
    """Decides for one run who of those that hold a request is an option.

    Args:
        lessons: what is known of the workers' loops.
        moment: the number of choices so far.

    Attributes:
        questions: loops that were left out although nobody knows whether they go on for ever, with
            the number of choices before they were.
        unsure: loops of which nobody can know.
    """

    def __init__(self, lessons: Lessons, moment: Callable[[], int]) -> None:
        self._lessons = lessons
        self._moment = moment
        self.questions: dict[Poll, int] = {}
        self.unsure: set[Poll] = set()

    def able(self, holding: Sequence[Actor]) -> list[Actor]:
        """Those who can go on.

        One that polls in vain does so until all is known that it may do, or somebody changes the
        answer; one that really sleeps, when nobody else can go on, or to be seen giving up.
        """
        awake = [one for one in holding if not one.is_parked or not self._has_waited(one)]
        free = [one for one in awake if not one.is_parked or not self._sleeps_on(one)]
        chosen = free or awake
        for one in holding:
            if one not in chosen:
                self._note(one)
        return chosen

    def _has_waited(self, actor: Actor) -> bool:
        """Whether it has polled again after time had passed, and got the same answer."""
        most = _MOST_REAL_POLLS if self._sleeps_on(actor) else actor.polls.period
        return actor.polls.idle >= max(most, self._lessons.tries.get(_poll(actor)) or 0)

    def _sleeps_on(self, actor: Actor) -> bool:
        """Whether it sleeps by its own clock, for nobody knows how long."""
        return actor.worker.is_elsewhere and self._lessons.tries.get(_poll(actor)) is None

    def _note(self, actor: Actor) -> None:
        poll = _poll(actor)
        if poll in self.unsure or poll in self.questions or actor.worker.tries_for_ever():
            return
        if poll not in self._lessons.tries:
            self.questions[poll] = self._moment()
        elif self._sleeps_on(actor):
            self.unsure.add(poll)


def _poll(actor: Actor) -> Poll:
    lane = actor.holding
    held = lane.held if lane is not None else None
    return Poll(actor.name, "" if held is None else _asks(held))


def _asks(request: Request) -> str:
    if isinstance(request, RedisRequest):
        names = {resource.name for resource, _ in request.footprint.touches}
        return " ".join([request.name, *sorted(name.removeprefix("redis ") for name in names)])
    return "; ".join(request.texts)
