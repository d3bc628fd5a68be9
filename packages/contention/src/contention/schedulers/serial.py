"""The workers one after another, in one given order."""

from collections.abc import Sequence

from contention.model.schedules import AGE, EXPIRE, worker_of
from contention.model.steps import Effect
from contention.schedulers.exhaustive import ExhaustiveScheduler


class SerialScheduler:
    """Every run in which each worker ends before the next begins.

    Mostly there is one. There are more where a worker asks for several things at the same time, and
    where one waits for what nobody before it has done: with a time limit it may give up at once, or
    else the next may begin. And there are more where time may pass.

    Args:
        order: the workers; one that it does not name never goes on.
        ages: whether the time-outs of keys may fire, before, between and after the requests of
            whoever goes on.
    """

    def __init__(self, order: Sequence[str], *, ages: bool = False) -> None:
        self._order = tuple(order)
        self._ages = ages
        self._inner = ExhaustiveScheduler()
        self._latest = ""

    @property
    def is_complete(self) -> bool:
        """One order is never all."""
        return False

    @property
    def cut_reason(self) -> str:
        """That nothing but this order was run."""
        return f"every schedule but {', '.join(self._order)} one after another"

    def start(self) -> bool:
        """Begin another run."""
        self._latest = ""
        return self._inner.start()

    def choose(self, options: Sequence[str]) -> str | None:
        """The first of the order that can go on; `None` when none of them can."""
        allowed = self._allowed(options)
        chosen = self._inner.choose(allowed) if allowed else None
        if chosen is None or not chosen.startswith(AGE):
            self._latest = worker_of(chosen or "")
        return chosen

    def executed(self, effect: Effect) -> None:
        """Remember what the step touched."""
        self._inner.executed(effect)

    def _allowed(self, options: Sequence[str]) -> list[str]:
        expiries = [one for one in options if one.startswith(EXPIRE)]
        ageings = [one for one in options if one.startswith(AGE)] if self._ages else []
        for worker in self._order:
            own = [one for one in options if worker_of(one) == worker and one not in expiries]
            if own:
                fire = [one for one in expiries if worker_of(one) == self._latest]
                return [*own, *fire, *ageings]
        return [*(one for one in expiries if worker_of(one) in self._order), *ageings]
