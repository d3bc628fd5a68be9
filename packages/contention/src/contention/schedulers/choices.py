"""One choice of an exhaustive search: who is tried at it, and who sleeps below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contention.model.schedules import worker_of
from contention.model.steps import Effect


@dataclass(frozen=True, slots=True)
class Tried:
    """What an actor's step did at a choice, or would do again while it sleeps.

    Attributes:
        effect: as told; of several tellings, all of it.
        took_away: who was no option any more, though neither chosen nor tried.
    """

    effect: Effect
    took_away: frozenset[str] = frozenset()

    def told_again(self, effect: Effect) -> "Tried":
        """With what it did this time as well."""
        whole = Effect(
            self.effect.footprint.joined([effect.footprint]),
            self.effect.moved | effect.moved,
            is_blocked=self.effect.is_blocked or effect.is_blocked,
        )
        return Tried(whole, self.took_away)

    def taking_away(self, options: frozenset[str]) -> "Tried":
        """With these options gone after it."""
        return Tried(self.effect, self.took_away | options)


@dataclass(slots=True)
class Choice:
    """One choice of the run at hand.

    Attributes:
        options: the actors that can go on.
        asleep: actors whose step here an earlier choice has tried, with what it does.
        current: the option being tried.
        wanted: the options to try.
        tried: what the steps tried so far did.
    """

    options: tuple[str, ...]
    asleep: Mapping[str, Tried]
    current: str
    wanted: set[str]
    tried: dict[str, Tried] = field(default_factory=dict)

    def want(self, actors: Sequence[str]) -> None:
        """Try one of these actors here too, or everybody when none of them can go on here."""
        able = [actor for actor in actors if actor in self.options]
        if not able:
            self.wanted.update(self.options)
        elif not self.wanted.intersection(able):
            self.wanted.add(able[0])

    def next_option(self) -> str | None:
        """Who is wanted, was not tried and does not sleep."""
        known = {**self.asleep, **self.tried}
        left = (option for option in self.options if option in self.wanted)
        return next((option for option in left if option not in known), None)

    def executed(self, effect: Effect) -> None:
        """Note what the current step did."""
        before = self.tried.get(self.current)
        self.tried[self.current] = before.told_again(effect) if before else Tried(effect)
        self._explain()

    def followed_by(self, options: Sequence[str]) -> None:
        """Note who is an option after the current step, and want whom it took away."""
        gone = frozenset(self.options) - {self.current} - set(options)
        self.tried[self.current] = self.tried[self.current].taking_away(gone)
        self.wanted |= gone
        self._explain()

    def asleep_below(self, options: Sequence[str]) -> dict[str, Tried]:
        """Which options still sleep after the current step: those it does not concern."""
        known = {**self.asleep, **self.tried}
        return {
            actor: known[actor]
            for actor in options
            if actor in known and actor != self.current and not self._wakes(actor, known[actor])
        }

    def _wakes(self, actor: str, sleeper: Tried) -> bool:
        taken = self.tried[self.current].effect
        worker = worker_of(actor)
        return (
            worker in taken.moved
            or worker == worker_of(self.current)
            or worker_of(self.current) in sleeper.effect.moved
            or self.current in sleeper.took_away
            or sleeper.effect.footprint.races_with(taken.footprint)
            or (sleeper.effect.is_blocked and taken.is_blocked)
        )

    def _explain(self) -> None:
        """Want everybody if an option was taken away by a step that has nothing to do with it."""
        known = {**self.asleep, **self.tried}
        for taker in self.tried.values():
            for option in taker.took_away & known.keys():
                if not known[option].effect.footprint.conflicts_with(taker.effect.footprint):
                    self.wanted.update(self.options)
