"""Serial equivalence: an outcome is right when running the workers one by one can give it."""

from collections.abc import Iterable, Sequence
from itertools import permutations
from math import factorial

from contention.checkers.renaming import same_up_to_names
from contention.model.outcomes import Outcome

#: With more workers than this, the serial orders are too many to run: give an invariant instead.
MOST_WORKERS = 6


def serial_orders(workers: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Every order in which the workers can run one by one.

    Raises:
        ValueError: more than `MOST_WORKERS` workers.
    """
    if len(workers) > MOST_WORKERS:
        raise ValueError(
            f"{len(workers)} workers have {factorial(len(workers)):,} serial orders; "
            f"give an invariant for more than {MOST_WORKERS}"
        )
    return permutations(workers)


def equals_a_serial_outcome(outcome: Outcome, serial: Iterable[Outcome]) -> bool:
    """Whether an outcome equals one of the serial ones, up to the names of generated values."""
    return any(same_up_to_names(outcome, candidate) for candidate in serial)
