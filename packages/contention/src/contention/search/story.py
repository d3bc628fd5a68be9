"""What a search found, as text: for a terminal of 80 columns, without colours."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from contention.model.steps import Link, Step

WIDTH: Final = 80
TIME: Final = "time"
"""Who acts when time passes."""

_MOST_OF_A_REQUEST: Final = 200
_MOST_OF_A_RESULT: Final = 160
_MOST_OF_AN_ANSWER: Final = 66
_NUMBER_WIDTH: Final = 3


def story(steps: Sequence[Step], width: int = WIDTH) -> list[str]:
    """A run's steps in the order in which they happened, one line each, wrapped hanging."""
    names = names_of(steps)
    longest = max(map(len, names), default=0)
    return [
        line
        for step, name in zip(steps, names, strict=True)
        for line in _packed(
            f"{step.number:>{_NUMBER_WIDTH}}  {name:<{longest}}  ", _told(step), width
        )
    ]


def names_of(steps: Sequence[Step]) -> list[str]:
    """Who acts in each step: the worker, or its connection if it uses several of one server."""
    lanes: dict[tuple[str, Link], set[str]] = {}
    for step in steps:
        lanes.setdefault((step.actor, step.link), set()).add(step.lane)
    return [_name(step, len(lanes[step.actor, step.link])) for step in steps]


def request_of(step: Step, most: int = _MOST_OF_A_REQUEST) -> str:
    """What was asked on one line, shortened in the middle; an answer names its request."""
    answer = "" if step.answers is None else f"answer to step {step.answers}: "
    return shortened(answer + step.text, most)


def result_of(step: Step, most: int = _MOST_OF_A_RESULT) -> str:
    """What came of it on one line, or whom it waits for."""
    if step.is_blocked:
        return shortened(f"BLOCKED by {', '.join(map(str, step.blocked_by))}", most)
    return shortened(step.result, most)


def wrapped(first: str, text: str, width: int = WIDTH) -> list[str]:
    """A text behind its heading, its later lines indented as far."""
    return textwrap.wrap(
        first + text, width, subsequent_indent=" " * len(first), break_on_hyphens=False
    )


def shortened(text: str, most: int) -> str:
    """The text on one line, whatever it holds; of a long one, its beginning and its end."""
    line = visible(" ".join(text.split()))
    if len(line) <= most:
        return line
    tail = max(0, most // 3 - 1)
    return f"{line[: most - tail - 1]}…{line[len(line) - tail :]}"


def visible(text: str) -> str:
    """The text with what a terminal or a page would obey, or not show, as escapes; lines stay."""
    return "".join(map(_visible, text))


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(workers: Iterable[tuple[str, str]]) -> str:
    """The workers with their functions."""
    return ", ".join(f"{name} {visible(function)}" for name, function in workers)


def _name(step: Step, lane_count: int) -> str:
    if step.link is Link.CLOCK:
        return TIME
    return step.lane if lane_count > 1 else step.actor


def _told(step: Step) -> list[str]:
    """The parts of a step's line, which are kept together where there is room."""
    where = [f"[{step.source}]"] if step.source else []
    most = _MOST_OF_A_REQUEST if step.answers is None else _MOST_OF_AN_ANSWER
    return [request_of(step, most), f"->  {result_of(step)}", *where]


def _packed(first: str, parts: Iterable[str], width: int) -> list[str]:
    """Parts behind a heading, each on the last line if it fits there, or else on its own."""
    indent = " " * len(first)
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines += wrapped(indent if lines else first, part, width)
    return lines


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode()
