"""Who waits for a message: when it has come to rest, and what a message has to do with steps.

A worker that has asked to be sent messages (LISTEN, SUBSCRIBE) and has nothing else to do waits for
one. It rests when all that was sent to it has come and it still does nothing; the others go on
then. A step after which it goes on has let it go on, like one that releases a lock.

Whom a step sends messages is not told by its text: a trigger may notify, a key's event be sent. So
each step that may change anything counts as one that tells every worker who is listening, and each
step of that worker as one that depends on what it was told.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from contention.model.footprints import Footprint, Mode, Resource
from contention.model.schedules import worker_of
from contention.model.steps import Effect
from contention.wire.actors import Actor, text_of
from contention.wire.lane import Lane, Request
from contention.wire.listening_lane import ListeningLane
from contention.wire.redis_commands import RedisKind
from contention.wire.redis_requests import RedisRequest

if TYPE_CHECKING:
    from contention.wire.virtual_loop import VirtualClockLoop

_LOOKS: Final = frozenset({Mode.READ})


class Messages:
    """Knows for one run who waits for a message.

    Args:
        actors: everybody, by name.
        loop: the workers' own.
    """

    def __init__(self, actors: Mapping[str, Actor], loop: "VirtualClockLoop") -> None:
        self._actors = actors
        self._loop = loop
        self._subscribed: dict[str, list[str]] = {}
        self._heard: set[str] = set()
        self._moves = 0
        self._waited: frozenset[str] = frozenset()
        self._listened: set[str] = set()

    @property
    def waiting(self) -> frozenset[str]:
        """Workers that have nothing else to do, and to whom all has come that was sent."""
        return frozenset(name for name in self._heard if self.is_listening(self._actors[name]))

    def arrived(self, lane: Lane, request: Request) -> None:
        """A request came."""
        if _subscribes(request):
            self._subscribed.setdefault(lane.worker, []).append(text_of(request))

    def asked_for(self, name: str) -> str:
        """With what a worker has asked for messages, as in ``LISTEN orders``."""
        return ", ".join(dict.fromkeys(self._subscribed.get(name, [])))

    def moved(self) -> None:
        """Something happened: another message may have been sent."""
        self._heard.clear()
        self._moves += 1

    @property
    def of_keys(self) -> bool:
        """Whether somebody waits who may be told what becomes of keys, as that they run out."""
        texts = [text for name in self.waiting for text in self._subscribed[name]]
        return any("__key" in text or text.upper().startswith("PSUB") for text in texts)

    def is_listening(self, actor: Actor) -> bool:
        """Whether a worker does nothing, has asked for messages, and waits for nothing else."""
        worker = actor.worker
        return (
            actor.name in self._subscribed
            and not (actor.is_at_rest or worker.is_elsewhere or worker.sleeps())
            and any(map(_has_subscribed, actor.lanes))
            and not self._loop.looks_elsewhere(actor.name)
        )

    async def come(self, within_seconds: float) -> bool:
        """Wait until all has come to those who listen; whether there was anything to wait for.

        Whoever gets a message then goes on in this turn of the loop.
        """
        listening = [
            actor
            for actor in self._actors.values()
            if actor.name not in self._heard and self.is_listening(actor)
        ]
        has_waited, moves = False, self._moves
        for actor in listening:
            lanes = [one for one in actor.lanes if _has_subscribed(one)]
            answers = [one.ask_aside() for one in lanes if isinstance(one, ListeningLane)]
            ended = [await self._loop.ends_within(one, within_seconds) for one in answers]
            if moves == self._moves and all(ended) and all(one.result() for one in answers):
                self._heard.add(actor.name)
                has_waited = True
        return has_waited

    def step_begins(self) -> None:
        """Remember who listens and who waits, to be told apart from who does after the step."""
        self._waited = self.waiting
        self._listened = self._are_sent_some()

    def in_effect(self, chosen: str, effect: Effect) -> Effect:
        """The same effect with the messages that it may have sent, and whom they let go on."""
        # Who is told with this step may have closed its connection since.
        listeners = self._listened | self._are_sent_some()
        if not listeners:
            return effect
        told = self._waited - self.waiting - {worker_of(chosen)}
        for name in told:
            self._actors[name].polls.forget()
        actors = {worker_of(chosen), *effect.moved}
        touches = tuple(
            (Resource(f"messages to {name}"), _mode(actors - {name}, effect.footprint))
            for name in sorted(listeners)
        )
        footprint = effect.footprint.joined([Footprint(touches)])
        return Effect(footprint, effect.moved | told, effect.is_blocked)

    def _are_sent_some(self) -> set[str]:
        return {
            name for name in self._subscribed if any(map(_has_subscribed, self._actors[name].lanes))
        }


def _has_subscribed(lane: Lane) -> bool:
    return lane.is_open and lane.has_subscribed


def _mode(others: set[str], footprint: Footprint) -> Mode:
    """What a step does to the messages of one worker, if these others act in it."""
    only_looks = footprint.is_known and {mode for _, mode in footprint.touches} <= _LOOKS
    return Mode.READ if only_looks or not others else Mode.WRITE


def _subscribes(request: Request) -> bool:
    if isinstance(request, RedisRequest):
        return request.kind is RedisKind.SUBSCRIPTION
    return any("listen" in text.casefold() for text in request.texts)
