"""A run as a sequence diagram: an SVG to stand inside a page.

Each step is a row: on the left what was asked and what came of it, on the right a mark on its
worker's lane and an arrow to each table and key that it touches. All lengths are CSS pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from contention.model.steps import Link, Run, Step
from contention.report.markup import Markup, element, joined, text
from contention.report.picture import Circle, Lane, LaneKind, Picture, targets_of
from contention.search.story import names_of, request_of, result_of, shortened

_WIDTH: Final = 1200
_ROW: Final = 44
_CIRCLE_ROW: Final = 40
_HEADS: Final = 62
_HEADS_EVERY: Final = 14
_CHARACTER: Final = 7.23
_NUMBER_X: Final = 34
_NAME_X: Final = 44
_TEXT_X: Final = 92
_LEAST_TEXT: Final = 430
_LANE_GAPS: Final = (84, 108)
_COLOURS: Final = 6
_MOST_OF_A_SOURCE: Final = 30
_BREAKS: Final = frozenset("_:.-/ ")


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Where everything is.

    Attributes:
        picture: what is drawn beside the steps.
        xs: the middle of each lane.
        tops: the upper edge of each step's row, by its number.
        circle_tops: the upper edge of each circle's row, by the number of the step before it.
        head_tops: the upper edges of the rows that name the lanes.
        height: of it all.
        width: of it all.
        text_width: of what is written on the left.
        names: who acts, by the step's number.
        functions: the workers' functions by the workers' names.
    """

    picture: Picture
    xs: dict[Lane, float]
    tops: dict[int, int]
    circle_tops: dict[int, int]
    head_tops: tuple[int, ...]
    height: int
    width: float
    text_width: float
    names: dict[int, str]
    functions: dict[str, str]

    @property
    def characters(self) -> int:
        """How many fit on a line of the left."""
        return int(self.text_width / _CHARACTER)

    def worker_x(self, name: str) -> float:
        """The middle of a worker's lane."""
        return self.xs[Lane(LaneKind.WORKER, name)]

    def middle(self, number: int) -> int:
        """The middle of a step's row."""
        return self.tops[number] + _ROW // 2

    def colour(self, name: str) -> str:
        """The class that gives a worker its colour."""
        workers = [lane.name for lane in self.picture.lanes if lane.kind is LaneKind.WORKER]
        return f"c{workers.index(name) % _COLOURS}" if name in workers else "time"


def as_svg(run: Run, functions: dict[str, str]) -> Markup:
    """The diagram of a run.

    Args:
        run: with steps.
        functions: the workers' functions by the workers' names.
    """
    canvas = _canvas(run, functions)
    parts = [
        element("title", text("The run as a sequence diagram"), id="picture-title"),
        element("desc", text(_described(canvas, run)), id="picture-description"),
        *_lines(canvas),
        *_waits(canvas),
        *(joined(_heads(canvas, top)) for top in canvas.head_tops),
        *(_circle(canvas, circle) for circle in canvas.picture.circles),
        *(_row(canvas, step) for step in run.steps),
    ]
    return element(
        "svg",
        joined(parts),
        xmlns="http://www.w3.org/2000/svg",
        width=canvas.width,
        height=canvas.height,
        viewBox=f"0 0 {canvas.width:g} {canvas.height}",
        role="group",
        aria_labelledby="picture-title picture-description",
    )


def _canvas(run: Run, functions: dict[str, str]) -> _Canvas:
    picture = Picture.of(run, list(functions))
    least, most = _LANE_GAPS
    count = max(1, len(picture.lanes))
    gap = min(most, max(least, (_WIDTH - _TEXT_X - _LEAST_TEXT) / count))
    left = max(_TEXT_X + _LEAST_TEXT, _WIDTH - count * gap)
    tops, circle_tops, head_tops, height = _tops(run.steps, picture.circles)
    return _Canvas(
        picture,
        {lane: left + gap * (place + 0.5) for place, lane in enumerate(picture.lanes)},
        tops,
        circle_tops,
        head_tops,
        height,
        left + count * gap,
        left - _TEXT_X - 16,
        dict(zip([step.number for step in run.steps], names_of(run.steps), strict=True)),
        functions,
    )


def _tops(
    steps: Sequence[Step], circles: Sequence[Circle]
) -> tuple[dict[int, int], dict[int, int], tuple[int, ...], int]:
    """The rows' upper edges from the top down, and the height; names stand anew now and then."""
    closing = {circle.after for circle in circles}
    tops: dict[int, int] = {}
    circle_tops: dict[int, int] = {}
    head_tops = [0]
    top = _HEADS
    for place, step in enumerate(steps, start=1):
        tops[step.number] = top
        top += _ROW
        if step.number in closing:
            circle_tops[step.number] = top
            top += _CIRCLE_ROW
        if place % _HEADS_EVERY == 0 and place < len(steps):
            head_tops.append(top)
            top += _HEADS
    return tops, circle_tops, tuple(head_tops), top + 12


def _described(canvas: _Canvas, run: Run) -> str:
    lanes = ", ".join(f"{lane.kind} {lane.name}" for lane in canvas.picture.lanes)
    return f"{len(run.steps)} steps from top to bottom, with a lane each for {lanes}."


def _lines(canvas: _Canvas) -> Iterator[Markup]:
    """The lanes' upright lines, interrupted where the lanes are named."""
    ends = [*canvas.head_tops[1:], canvas.height]
    for lane, x in canvas.xs.items():
        colour = f" {canvas.colour(lane.name)}" if lane.kind is LaneKind.WORKER else ""
        for top, end in zip(canvas.head_tops, ends, strict=True):
            yield element("path", d=f"M{x:g} {top + _HEADS - 8}V{end}", class_=f"lane{colour}")


def _heads(canvas: _Canvas, top: int) -> Iterator[Markup]:
    gap = (canvas.width - _TEXT_X - 16 - canvas.text_width) / max(1, len(canvas.xs))
    for lane, x in canvas.xs.items():
        is_worker = lane.kind is LaneKind.WORKER
        colour = f" {canvas.colour(lane.name)}" if is_worker else ""
        lines = _broken(lane.name, int((gap - 6) / _CHARACTER))
        below = canvas.functions.get(lane.name, "") if is_worker else lane.kind.value
        lines = [*lines, shortened(below.rpartition("<locals>.")[2], int((gap - 6) / _CHARACTER))]
        first = top + _HEADS - 14 - 14 * (len(lines) - 1)
        yield element(
            "g",
            element("title", text(f"{lane.kind} {lane.name} {below if is_worker else ''}".strip())),
            *(
                element(
                    "text",
                    text(line),
                    x=x,
                    y=first + 14 * place,
                    class_="below" if place == len(lines) - 1 else "head",
                )
                for place, line in enumerate(lines)
            ),
            class_=f"heads {lane.kind.value}{colour}",
        )


def _broken(name: str, most: int) -> list[str]:
    """A lane's name on one line or two, broken after the mark in it that is nearest the middle."""
    shown = shortened(name, 2 * most)
    if len(shown) <= most:
        return [shown]
    marks = [at for at in range(len(shown) - most, most + 1) if shown[at - 1] in _BREAKS]
    end = min(marks, key=lambda at: abs(2 * at - len(shown)), default=most)
    return [shown[:end], shown[end:]]


def _waits(canvas: _Canvas) -> Iterator[Markup]:
    """A bar on the worker's lane from the blocked step to its answer."""
    for wait in canvas.picture.waits:
        top = canvas.middle(wait.since)
        end = canvas.height - 6 if wait.until is None else canvas.middle(wait.until)
        said = "without an answer" if wait.until is None else f"until step {wait.until}"
        yield element(
            "rect",
            element("title", text(f"{wait.actor} waits from step {wait.since} {said}")),
            x=canvas.worker_x(wait.actor) - 7,
            y=top,
            width=14,
            height=end - top,
            rx=3,
            class_="wait" if wait.until else "wait open",
        )


def _circle(canvas: _Canvas, circle: Circle) -> Markup:
    """A row of its own, with an arrow for each wait of the circle."""
    top = canvas.circle_tops[circle.after]
    middle = top + _CIRCLE_ROW // 2
    round_trip = [*circle.actors, circle.actors[0]]
    name = "deadlock" if circle.is_deadlock else "circle of waits"
    said = f"{name}: {', '.join(f'{one} waits for {two}' for one, two in pairwise(round_trip))}"
    spread = 18 / max(1, len(circle.actors) - 1)
    arrows = [
        _arrow(
            canvas.worker_x(one),
            canvas.worker_x(two),
            middle - 9 + spread * place,
            "circle-line",
        )
        for place, (one, two) in enumerate(pairwise(round_trip))
    ]
    return element(
        "g",
        element("rect", x=4, y=top + 2, width=canvas.width - 8, height=_CIRCLE_ROW - 4, rx=4),
        element("text", text(shortened(said, canvas.characters + 6)), x=_NAME_X, y=middle + 4),
        *arrows,
        class_="circle",
    )


def _row(canvas: _Canvas, step: Step) -> Markup:
    """A step: a link to its line in the table."""
    parts = [
        element("title", text(f"step {step.number}, {step.actor}: {step.text}")),
        element(
            "rect",
            x=2,
            y=canvas.tops[step.number] + 1,
            width=canvas.width - 4,
            height=_ROW - 2,
            rx=4,
            class_="row",
        ),
        *_written(canvas, step),
        *(_passing(canvas, step) if step.link is Link.CLOCK else _drawn(canvas, step)),
    ]
    return element(
        "a",
        joined(parts, ""),
        href=f"#step-{step.number}",
        id=f"row-{step.number}",
        class_=canvas.colour(step.actor) if step.link is not Link.CLOCK else "time",
    )


def _written(canvas: _Canvas, step: Step) -> Iterator[Markup]:
    upper, lower = canvas.middle(step.number) - 5, canvas.middle(step.number) + 13
    yield element("text", text(str(step.number)), x=_NUMBER_X, y=upper, class_="number")
    name = canvas.names[step.number]
    yield element("text", text(shortened(name, 6)), x=_NAME_X, y=upper, class_="name")
    request = request_of(step, canvas.characters)
    yield element("text", text(request), x=_TEXT_X, y=upper, class_="request")
    result = result_of(step, canvas.characters)
    kind = "result blocked" if step.is_blocked else f"result{' error' * has_failed(step)}"
    yield element("text", text(result), x=_TEXT_X, y=lower, class_=kind)
    source = _end_of(step.source, _MOST_OF_A_SOURCE)
    if source and len(result) + 2 + len(source) <= canvas.characters:
        end = _TEXT_X + canvas.text_width
        yield element("text", text(source), x=end, y=lower, class_="source")


def _end_of(place: str, most: int) -> str:
    return place if len(place) <= most else f"…{place[1 - most :]}"


def has_failed(step: Step) -> bool:
    """Whether the server answered with an error."""
    starts = {Link.POSTGRES: ("ERROR ", "FATAL ", "PANIC "), Link.REDIS: ("error ",)}
    return step.result.startswith(starts.get(step.link, ()))


def _drawn(canvas: _Canvas, step: Step) -> Iterator[Markup]:
    """The arrows to what is touched and to those who are waited for, and the worker's mark."""
    x, y = canvas.worker_x(step.actor), canvas.middle(step.number)
    ends = sorted(canvas.xs[lane] for lane in targets_of(step))
    kind = "touch pending" if step.is_blocked else "touch"
    if ends:
        yield element("path", d=f"M{x:g} {y}H{ends[-1] - 2:g}", class_=kind)
    for end in ends:
        yield _arrow_head(end, y, "tip")
    for blocker in step.blocked_by:
        lane = Lane(LaneKind.WORKER, blocker.actor)
        if lane in canvas.xs and canvas.xs[lane] != x:
            yield _arrow(x, canvas.xs[lane], y + 12, "waits-for")
    yield _mark(x, y, step)


def _mark(x: float, y: int, step: Step) -> Markup:
    if has_failed(step):
        shape = f"M{x - 5:g} {y - 5}L{x + 5:g} {y + 5}M{x + 5:g} {y - 5}L{x - 5:g} {y + 5}"
        return element("path", d=shape, class_="mark failed")
    kind = "mark blocked" if step.is_blocked else "mark"
    return element("circle", cx=x, cy=y, r=5.5, class_=kind)


def _passing(canvas: _Canvas, step: Step) -> Iterator[Markup]:
    """Time passes for everybody; what ran out is crossed out."""
    y = canvas.middle(step.number)
    xs = list(canvas.xs.values())
    yield element("path", d=f"M{min(xs) - 20:g} {y}H{max(xs) + 20:g}", class_="passing")
    for lane in targets_of(step):
        x = canvas.xs[lane]
        yield element("circle", cx=x, cy=y, r=9, class_="ran-out")
        yield element("path", d=f"M{x:g} {y - 5}V{y}L{x + 4:g} {y + 3}", class_="hand")


def _arrow(start: float, end: float, y: float, kind: str) -> Markup:
    direction = 1 if end > start else -1
    return element(
        "g",
        element("path", d=f"M{start:g} {y:g}H{end - 3 * direction:g}"),
        _arrow_head(end, y, "tip", direction),
        class_=kind,
    )


def _arrow_head(x: float, y: float, kind: str, direction: int = 1) -> Markup:
    back = x - 8 * direction
    return element("path", d=f"M{x:g} {y:g}L{back:g} {y - 4:g}V{y + 4:g}Z", class_=kind)
