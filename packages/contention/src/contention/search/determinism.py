"""Whether the same schedule gave the same steps."""

import re
from collections.abc import Sequence
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
    for one, other in zip_longest(first, second):
        if one is None or other is None:
            longer = one or other
            assert longer is not None  # noqa: S101 - one of the two is there
            return Difference(f"only one of the two runs has step {longer.number}, {_told(longer)}")
        if _shape(one) != _shape(other):
            return Difference(f"step {one.number} was {_told(one)}, then {_told(other)}")
        if not in_values and _values(one) != _values(other):
            in_values = (
                f"values differ when the same schedule is run again, first at step {one.number}: "
                f"{_told(one)}, then {_told(other)}"
            )
    return Difference(in_values=in_values)


def _shape(step: Step) -> tuple[object, ...]:
    text = _LITERALS.sub("?", _named(step.text))
    return step.actor, step.lane, step.link, step.is_blocked, text


def _values(step: Step) -> tuple[str, str]:
    return _named(step.text), step.result


def _named(text: str) -> str:
    return _MADE_UP_NAMES.sub("?", text)


def _told(step: Step) -> str:
    return f"{step.actor} {step.text} -> {step.result}"
