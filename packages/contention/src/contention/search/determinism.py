"""Whether the same schedule gave the same steps."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from contention.model.steps import Step

_LITERALS: Final = re.compile(
    r"""
      '(?:[^']|'')*'                                  # a string of SQL
    | \b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b  # a uuid
    | \b[0-9a-f]{16,}\b                               # a token
    | \b\d[\d.:T+-]*Z?\b                              # a number or a time
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MADE_UP_NAMES: Final = re.compile(r"__asyncpg_[a-z]+_[0-9a-f]+__")
"""asyncpg numbers its savepoints through the whole life of a process."""
_ENDS_A_TRANSACTION: Final = re.compile(r"\s*(?:COMMIT|ROLLBACK)\s*;?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs of one schedule part, as sentences; empty when they do not.

    Attributes:
        in_shape: other requests, or others who wait: the schedule does not decide what happens.
        in_values: the same requests with other values or results, as of random numbers, clocks and
            sequences; the schedule decides the rest.
    """

    in_shape: str = ""
    in_values: str = ""


def difference(first: Sequence[Step], second: Sequence[Step]) -> Difference:
    """The first difference of shape, and the first of values."""
    in_values = ""
    for (one, our_lane), (other, their_lane) in zip_longest(
        _with_lanes(first), _with_lanes(second), fillvalue=(None, 0)
    ):
        if one is None or other is None:
            longer = one or other
            assert longer is not None  # noqa: S101 - one of the two is there
            return Difference(f"only one of the two runs has step {longer.number}, {_told(longer)}")
        if our_lane != their_lane and _shape(one) == _shape(other):
            return Difference(
                f"step {one.number}, {_told(one)}, was asked on {one.lane}, then on {other.lane}"
            )
        if _shape(one) != _shape(other):
            return Difference(f"step {one.number} was {_told(one)}, then {_told(other)}")
        if not in_values and _values(one) != _values(other):
            in_values = (
                f"values differ when the same schedule is run again, first at step {one.number}: "
                f"{_told(one)}, then {_told(other)}"
            )
    return Difference(in_values=in_values)


def _with_lanes(steps: Sequence[Step]) -> Iterator[tuple[Step | None, int]]:
    """The steps, each with a number for its connection: in the order of first use of each worker's.

    A pool in a thread opens several at once, and gives for each transaction whichever is free: a
    connection whose transaction has ended counts as another from then on.
    """
    numbers: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for step in steps:
        if step.lane not in numbers:
            counts[step.actor] += 1
            numbers[step.lane] = counts[step.actor]
        yield step, numbers[step.lane]
        if _ENDS_A_TRANSACTION.match(step.text):
            del numbers[step.lane]


def _shape(step: Step) -> tuple[object, ...]:
    text = _LITERALS.sub("?", _named(step.text))
    return step.actor, step.link, step.is_blocked, text


def _values(step: Step) -> tuple[str, str]:
    return _named(step.text), step.result


def _named(text: str) -> str:
    return _MADE_UP_NAMES.sub("?", text)


def _told(step: Step) -> str:
    return f"{step.actor} {step.text} -> {step.result}"
