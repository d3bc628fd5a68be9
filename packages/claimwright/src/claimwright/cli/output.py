"""How commands speak: tables for people, JSON for machines, progress on the error stream.

Results go to standard output and nothing else does, so that ``--json`` can be piped.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from claimwright.domain.words import counted
from claimwright.operations.import_rows import Notify

results = Console(highlight=False)
messages = Console(stderr=True, highlight=False)

# A space before each cell and one after it, and the line between it and the next.
_COLUMN_FRAME = 3

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def print_json(value: object) -> None:
    """Print a result as one JSON document; decimals and amounts as text, exactly."""
    typer.echo(json.dumps(value, default=_plain_value, indent=2, ensure_ascii=False))


class Formatted(str):
    """A number in words for people, as in ``1,234.50``: it stands to the right, unbroken."""

    __slots__ = ()


class Whole(str):
    """A name that is misread when it is broken in two, such as a claim's."""

    __slots__ = ()


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    leaving: Sequence[str] = (),
) -> None:
    """Print rows under their columns; numbers stand to the right.

    Args:
        title: above the table.
        columns: what stands above the cells.
        rows: one cell a column; `None` is an empty one.
        leaving: the columns that a terminal too narrow for all of them does without, the first
            of them first. The error stream names those that left.
    """
    materialised = [list(row) for row in rows]
    left = _left_out(columns, materialised, leaving)
    results.print(_table(title, columns, materialised, left))
    if left:
        messages.print(
            f"Not shown on {results.width} columns: {', '.join(left)}. "
            "A wider terminal and --json have everything.",
            soft_wrap=True,
        )


def _left_out(
    columns: Sequence[str], rows: Sequence[Sequence[object]], leaving: Sequence[str]
) -> Sequence[str]:
    """The first of the columns in ``leaving`` without which the others fit unbroken."""
    widths = {
        column: max(cell_len(_text(cell)) for cell in (column, *(row[place] for row in rows)))
        for place, column in enumerate(columns)
    }
    for count in range(len(leaving)):
        shown = [width for column, width in widths.items() if column not in leaving[:count]]
        if sum(shown) + _COLUMN_FRAME * len(shown) + 1 <= results.width:
            return leaving[:count]
    return leaving


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[str]
) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    shown = [place for place, column in enumerate(columns) if column not in left]
    for place in shown:
        cells = [row[place] for row in rows]
        numeric = any(isinstance(cell, int | Decimal | Formatted) for cell in cells)
        # A number or date that is broken in two is misread; text beside it gives way.
        whole = numeric or any(isinstance(cell, date | Whole) for cell in cells)
        justify: JustifyMethod = "right" if numeric else "left"
        table.add_column(columns[place], justify=justify, overflow="fold", no_wrap=whole)
    for row in rows:
        # As text: what stands in a cell came from outside and is no markup.
        table.add_row(*(Text(_text(row[place])) for place in shown))
    return table


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def progress(*, quiet: bool, in_bytes: bool = False) -> Iterator[Progress]:
    """A progress display on the error stream: bar, bytes or count and rate, remaining time."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        *(() if in_bytes else (_Rate(),)),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=quiet, transient=True) as display:
        yield display


def rows_shown_on(display: Progress, title: str) -> Notify:
    """What an import tells its progress to: the rows it has read, and how far the file is."""
    bar = display.add_task(title, total=None)
    return lambda done, total, rows: display.update(
        bar, description=counted(rows, "row"), completed=done, total=total
    )


def _plain_value(value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if is_dataclass(value) and not isinstance(value, type):
        # One level at a time: `asdict` would copy values that cannot be copied, such as zones.
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")
