"""Workers that ask for nothing: whose time passes, and when they are not waited for any more.

A task that sleeps is woken at once, as its next request can be held for as long as one likes. But
one that is told by a message waits for somebody else, and a time limit around that wait is not a
sleep: it ends only when nobody else can go on. And who sleeps again and again without ever asking
would be woken for ever.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from contention.wire.actors import Actor

MOST_SLEEPS: Final = 10_000
"""So often a worker may sleep without asking for anything: ten minutes of looks 60 ms apart."""
_SLEEPS_A_STEP: Final = 10
"""So often one that is not waited for any more may look at what a step has changed in memory."""
_MESSAGE_SECONDS: Final = 0.1
"""A server on the same machine has sent a message by then; if not, it only is left out."""
_MOST_MESSAGE_SECONDS: Final = 2.0
"""Nobody can go on but by a time limit: a message that is on its way comes before that ends."""


class Sleepers:
    """Lets time pass in one run for those who have nothing else to wait for.

    Args:
        actors: everybody, by name.
        silence_seconds: how long a worker may do nothing before it is not waited for any more.

    Attributes:
        silent: who is not waited for at the moment.
        unheard: who was not waited for at some moment, and why, if that is known.
    """

    def __init__(self, actors: Mapping[str, Actor], silence_seconds: float) -> None:
        self._actors = actors
        self._message_seconds = min(_MESSAGE_SECONDS, silence_seconds)
        self._most_message_seconds = min(_MOST_MESSAGE_SECONDS, silence_seconds)
        self._sleeps: dict[str, int] = {}
        self.silent: set[str] = set()
        self.unheard: dict[str, str] = {}

    def step_begins(self) -> None:
        """Something will change; whoever is not waited for may have waited for that."""
        for name in self.silent:
            if self._sleeps.get(name, 0) >= MOST_SLEEPS:
                self._sleeps[name] = MOST_SLEEPS - _SLEEPS_A_STEP
        self.silent = {name for name in self.silent if not is_told(self._actors[name])}

    def moved(self, name: str) -> None:
        """A worker has done something."""
        self.silent.discard(name)
        self._sleeps.pop(name, None)

    def give_up(self, actors: Iterable[Actor]) -> None:
        """Do not wait for them until they move again."""
        for actor in actors:
            self.silent.add(actor.name)
            self.unheard.setdefault(actor.name, _why(actor))

    def wake_one(
        self,
        moved_at: float,
        heard: Collection[str],
        *,
        others_can_go_on: Callable[[Actor], bool],
    ) -> bool:
        """Let time pass for one of those who have waited least; whether there is one.

        Args:
            moved_at: when something happened last, on the monotonic clock.
            heard: those who wait for a message although all has come that was sent.
            others_can_go_on: whether anybody but a worker can.
        """
        asleep = [one for one in self._actors.values() if not one.is_at_rest]
        for actor in sorted(asleep, key=lambda one: self._sleeps.get(one.name, 0)):
            if actor.name in heard:
                continue
            if is_told(actor) and not self._is_left_alone(actor, moved_at, others_can_go_on):
                continue
            if self._sleeps.get(actor.name, 0) < MOST_SLEEPS and actor.wake():
                self._count(actor)
                return True
        return False

    def wait_in_vain(
        self,
        actors: Collection[Actor],
        moved_at: float,
        *,
        others_can_go_on: Callable[[Actor], bool],
    ) -> bool:
        """Whether all of them wait for messages, and none has come for a while."""
        if not all(map(is_told, actors)):
            return False
        has_others = any(map(others_can_go_on, actors))
        most = self._message_seconds if has_others else 2 * self._most_message_seconds
        return time.monotonic() - moved_at > most

    def _is_left_alone(
        self, actor: Actor, moved_at: float, others_can_go_on: Callable[[Actor], bool]
    ) -> bool:
        passed = time.monotonic() - moved_at
        return passed > self._most_message_seconds and not others_can_go_on(actor)

    def _count(self, actor: Actor) -> None:
        sleeps = self._sleeps[actor.name] = self._sleeps.get(actor.name, 0) + 1
        if sleeps >= MOST_SLEEPS:
            self.silent.add(actor.name)
            self.unheard[actor.name] = f"it has slept {sleeps:,} times without asking for anything"


def is_told(actor: Actor) -> bool:
    """Whether a worker, who is not at rest, does nothing but wait for a message."""
    worker = actor.worker
    return not (worker.is_elsewhere or worker.sleeps()) and any(
        lane.is_open and lane.has_subscribed for lane in actor.lanes
    )


def _why(actor: Actor) -> str:
    if any(lane.is_open and lane.has_subscribed for lane in actor.lanes):
        return "it waits for a message (LISTEN or SUBSCRIBE), which may come at any moment"
    return ""
