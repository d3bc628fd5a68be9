"""What happened before what in one run, and which of its steps raced.

A step happens before another if its actor did both, if it let the other's actor go on, or if the
other depends on what it touched. Two steps race if they touch the same thing, both orders can
matter, and nothing else keeps the order: the earlier one does not happen before what the later
one's actor did last, nor made it an option by what it touched (Flanagan and Godefroid, "Dynamic
Partial-Order Reduction for Model Checking Software", 2005). Who became an option only because
nobody else was free has come after nobody. All such pairs are told, not only each step's last: of
the requests of a ring of waiting actors the last races with each.

A request that waits happens before its actor's next steps and not before the step that lets it on:
it might as well have been asked afterwards (see `contention.model.footprints.Mode`). So what its
actor did before waiting is not taken to precede what the holder does after its release.

To run a race the other way round, everything that does not happen after the earlier step is done
first, and then the later step. Whoever can begin with that is an initial of the race; one of them
has to be tried in the earlier step's place (source sets: Abdulla, Aronis, Jonsson and Sagonas,
"Optimal Dynamic Partial Order Reduction", 2014). The later step's own actor need not be one: with
sleep sets it would not do, as it may sleep there for the sake of what it does first.

A worker that holds several requests has an option for each. What it is told goes into one memory,
so its steps are kept in their order whatever they touch, and two of them race where the later one
was held already when the earlier one was chosen. While one of its requests waits, its other steps
race in the same way with the step that lets the waiting one on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contention.model.schedules import worker_of
from contention.model.steps import Effect


@dataclass(frozen=True, slots=True)
class Race:
    """Two steps that could change places.

    Attributes:
        position: of the earlier one.
        initials: who can begin to run it the other way round, the later one's actor before others.
    """

    position: int
    initials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Event:
    """A step, with the set of positions up to its own that happen before it, as bits."""

    actor: str
    effect: Effect
    past: int


class History:
    """The steps of the run at hand; runs with the same beginning share its events."""

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._length = 0
        self._pasts: dict[str, int] = {}
        self._appeared: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._waits: dict[str, list[int]] = {}

    def restart(self) -> None:
        """Begin another run."""
        self._length = 0
        self._pasts = {}
        self._appeared = {}
        self._asked = {}
        self._waits = {}

    def appeared(self, actor: str) -> None:
        """After the last step the actor is an option, whether it had to do with it or not."""
        self._appeared[actor] = self._length - 1
        self.asks(actor)

    def asks(self, actor: str) -> None:
        """After the last step the actor asks for something, and has not asked for it before."""
        self._asked[actor] = self._pasts.get(worker_of(actor), 0)

    def record(self, actor: str, effect: Effect) -> list[Race]:
        """Add a step.

        Returns:
            Its races with earlier steps; none when it was told before.
        """
        position = self._length
        worker = worker_of(actor)
        known = self._pasts.get(worker, 0)
        before = self._asked.pop(actor, known) | self._enabled_by(actor, effect)
        racing = [] if self._is_told(actor, effect) else self._add(actor, effect, before)
        past = self._events[position].past
        self._length += 1
        self._pasts[worker] = past | known
        if effect.is_blocked:
            self._waits.setdefault(worker, []).append(position)
        for other in effect.moved:
            self._pasts[other] = self._pasts.get(other, 0) | past
            # Which of several has been let on is not told: the first to wait counts longest.
            self._waits[other] = self._waits.get(other, [])[:-1]
        return racing

    def _enabled_by(self, actor: str, effect: Effect) -> int:
        """What happens before the step that made the actor an option by what it touched."""
        position = self._appeared.pop(actor, None)
        if position is None:
            return 0
        event = self._events[position]
        return event.past if event.effect.footprint.precedes(effect.footprint) else 0

    def _is_told(self, actor: str, effect: Effect) -> bool:
        if self._length == len(self._events):
            return False
        event = self._events[self._length]
        return event.actor == actor and event.effect == effect

    def _add(self, actor: str, effect: Effect, before: int) -> list[Race]:
        del self._events[self._length :]
        past = before | self._pasts.get(worker_of(actor), 0) | 1 << self._length
        for position, event in reversed(list(enumerate(self._events))):
            if not past >> position & 1 and (
                event.effect.footprint.precedes(effect.footprint)
                or self._share_a_worker(position, actor, effect)
            ):
                past |= event.past
        racing = list(self._racing(actor, effect, before))
        self._events.append(_Event(actor, effect, past))
        return [Race(position, self._initials(position)) for position in racing]

    def _racing(self, actor: str, effect: Effect, before: int) -> Iterator[int]:
        for position, event in enumerate(self._events):
            if not before >> position & 1 and (
                event.effect.footprint.races_with(effect.footprint)
                or self._share_a_worker(position, actor, effect)
            ):
                yield position

    def _share_a_worker(self, position: int, actor: str, effect: Effect) -> bool:
        """Whether an earlier step and this one tell the same worker something, in this order."""
        event = self._events[position]
        worker = worker_of(event.actor)
        if worker == worker_of(actor):
            return True
        waits = self._waits.get(worker)
        was_beside = bool(waits) and worker in effect.moved and position > min(waits or [0])
        return was_beside or worker_of(actor) in event.effect.moved

    def _initials(self, position: int) -> tuple[str, ...]:
        """Who can begin, of those who act after a position up to the last step without it."""
        initials, last = [], len(self._events) - 1
        done = 0
        for later in range(position + 1, last + 1):
            event = self._events[later]
            if later < last and event.past >> position & 1:
                continue
            if not event.past & done:
                initials.append(event.actor)
            done |= 1 << later
        racer = self._events[last].actor
        return tuple(sorted(initials, key=lambda actor: actor != racer))
