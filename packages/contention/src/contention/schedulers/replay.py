"""One given schedule again, and then whoever can go on."""

from collections.abc import Sequence

from contention.model.schedules import Schedule
from contention.model.steps import Effect
from contention.schedulers.scheduler import NotDeterministicError


class ReplayScheduler:
    """Runs a schedule once; after its end the actor at hand goes on where it can."""

    def __init__(self, schedule: Schedule) -> None:
        self._actors = [choice.actor for choice in schedule.choices]
        self._position = 0
        self._latest = ""
        self._has_run = False

    @property
    def is_complete(self) -> bool:
        """One run is never all."""
        return False

    @property
    def cut_reason(self) -> str:
        """That nothing but the given schedule was run."""
        return "every schedule but the one replayed"

    def start(self) -> bool:
        """Begin the one run."""
        if self._has_run:
            return False
        self._has_run = True
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The schedule's choice.

        Raises:
            NotDeterministicError: the actor it names cannot go on here.
        """
        if self._position < len(self._actors):
            chosen = self._actors[self._position]
            if chosen not in options:
                raise NotDeterministicError(self._position, [chosen], options)
        else:
            chosen = self._latest if self._latest in options else options[0]
        self._position += 1
        self._latest = chosen
        return chosen

    def executed(self, effect: Effect) -> None:
        """Footprints do not matter here."""
