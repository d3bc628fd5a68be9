"""The workers one after another, in one given order."""

from collections.abc import Sequence

from contention.model.steps import Effect


class SerialScheduler:
    """One run in which each worker ends before the next begins.

    Args:
        order: the workers; one that it does not name never goes on.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = tuple(order)
        self._has_run = False

    @property
    def is_complete(self) -> bool:
        """One order is never all."""
        return False

    @property
    def cut_reason(self) -> str:
        """That nothing but this order was run."""
        return f"every schedule but {', '.join(self._order)} one after another"

    def start(self) -> bool:
        """Begin the one run."""
        if self._has_run:
            return False
        self._has_run = True
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The first of the order that can go on; `None` when none of them can."""
        return next((name for name in self._order if name in options), None)

    def executed(self, effect: Effect) -> None:
        """Footprints do not matter here."""
