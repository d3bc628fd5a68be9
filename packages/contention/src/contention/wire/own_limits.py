"""Time limits of an async worker's own: that one fires is a choice, as long as its wait lasts.

``asyncio.timeout``, ``wait_for``, ``command_timeout`` of asyncpg and ``socket_timeout`` of redis-py
are timers of the worker's loop, whose clock is the kit's. They are fired by letting time pass for
that worker alone. Like a limit of the server's, one fires only while its worker waits for somebody:
for who holds a lock, who fills a list, or who sends a message. A reply that nobody holds up comes
in time.

Of the worker's limits the next to fire does. If it began with the request that waits, it fires only
before a longer limit of the server's; if it began earlier, how much of it is left is anybody's
guess. A key that would have run out by then may still be there: that it runs out is another choice.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from contention.model.schedules import EXPIRE, worker_of
from contention.model.steps import Effect
from contention.wire.actors import Actor
from contention.wire.expiries import Expiries, Timer
from contention.wire.messages import Messages

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from contention.wire.gate import Lane

MOST_LIMITS: Final = 32
"""So many in one run; a program that tries again for ever would never end."""
_SEVERAL: Final = 2


class OwnLimits:
    """The time limits of the workers' own in one run.

    Args:
        actors: everybody, by name.
        messages: knows who waits for one.
        expiries: knows the limits of the servers.

    Attributes:
        unseen: workers that gave up in the end, and did not at every moment at which they could.
    """

    def __init__(self, actors: Mapping[str, Actor], messages: Messages, expiries: Expiries) -> None:
        self._actors = actors
        self._messages = messages
        self._expiries = expiries
        self._began: dict[TimerHandle, int] = {}
        self._moves: dict[str, int] = {}
        self._limited: set[str] = set()
        self._tired: set[str] = set()
        self._in_vain: dict[str, int] = {}
        self._fired = 0
        self.unseen: set[str] = set()

    @property
    def cut_reason(self) -> str:
        """What was left out, as a sentence; empty while nothing was."""
        return f"more than {MOST_LIMITS} time limits that fire in one run" * self._is_enough

    def options(self, *, is_only: bool) -> list[str]:
        """The choices that a worker's own limit fires, as in ``expire w1``.

        Args:
            is_only: whether nobody can go on otherwise: then also who has just waited in vain.
        """
        if self._is_enough:
            return []
        return [
            f"{EXPIRE}{actor.name}"
            for actor in self._actors.values()
            if (is_only or actor.name not in self._tired) and self._may_fire(actor)
        ]

    def fires_before(self, timer: Timer) -> bool:
        """Whether a limit of the server's cannot fire, as its worker does not wait so long."""
        actor = self._actors[timer.lane.worker]
        seconds = min(actor.worker.limits().values(), default=math.inf)
        return not self._is_enough and seconds < timer.seconds and self._may_fire(actor)

    def is_one(self, option: str) -> bool:
        """Whether a choice lets a worker's own limit fire."""
        return option.startswith(EXPIRE) and option.removeprefix(EXPIRE) in self._actors

    def step_begins(self, chosen: str) -> None:
        """Note under which limits a request is made, before it is answered and they are gone."""
        actor = self._actors.get(worker_of(chosen))
        if actor is not None:
            for limit in actor.worker.limits():
                self._limited.add(actor.name)
                self._began.setdefault(limit, self._moves.get(actor.name, 0))
        if not self.is_one(chosen):
            self._tired.clear()

    def fire(self, name: str, owes: "Callable[[Lane], object]") -> str:
        """Let time pass for a worker until its next limit; what happens, for people.

        Args:
            name: the worker's.
            owes: told of each connection on which it waits, and is answered or cut now.
        """
        actor = self._actors[name]
        self._fired += 1
        self._tired.add(name)
        self._in_vain[name] = self._in_vain.get(name, 0) + 1
        for lane in actor.waiting:
            owes(lane)
        what = "a reply" if actor.waiting else "a message"
        seconds = min(actor.worker.limits().values(), default=0.0)
        actor.worker.wake(seconds)
        return f"a time limit of {name}'s own fires: about {seconds:.0f} s without {what}"

    def moved(self, name: str) -> None:
        """A worker has done something, or waits for nothing any more."""
        self._moves[name] = self._moves.get(name, 0) + 1
        self._tired.discard(name)
        if self._in_vain.pop(name, 0) >= _SEVERAL:
            # It gives up after several rounds, and was seen to after those alone.
            self.unseen.add(name)

    def in_effect(self, chosen: str, effect: Effect) -> Effect:
        """The same effect, if somebody in it does not wait for ever."""
        if not {worker_of(chosen), *effect.moved} & self._limited:
            return effect
        return Effect(effect.footprint.in_time(), effect.moved, effect.is_blocked)

    @property
    def _is_enough(self) -> bool:
        return self._fired >= MOST_LIMITS

    def _may_fire(self, actor: Actor) -> bool:
        waits = (actor.waiting or actor.name in self._messages.waiting) and not actor.holding
        limits = actor.worker.limits() if waits else {}
        if not limits:
            return False
        following, now = min(limits, key=lambda one: limits[one]), self._moves.get(actor.name, 0)
        is_older = self._began.get(following, now) < now
        return is_older or limits[following] <= self._expiries.seconds_of(actor.name)
