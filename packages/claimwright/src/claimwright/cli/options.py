"""Options that several commands have, and what they share in printing."""

import inspect
from collections.abc import Callable
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.output import messages, results
from claimwright.domain.words import counted
from claimwright.operations.import_rows import Refusal
from claimwright.storage.pages import LARGEST_PAGE

_DATE_FORMATS = ["%Y-%m-%d"]
PAGE = 100

Limit = Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, help="Rows of a page.")]
Quarantine = Annotated[
    Path | None,
    typer.Option(
        help="Where refused rows go; default: beside FILE, as FILE.quarantine.csv; "
        "those of a pipe, into the current folder."
    ),
]
QuarantineMib = Annotated[
    int,
    typer.Option(
        "--quarantine-mib", min=1, help="Stop, with exit 5, at so many MiB of refused rows."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and check everything; store and write nothing.")
]
FirstDay = Annotated[
    datetime | None, typer.Option("--from", formats=_DATE_FORMATS, help="First day, included.")
]
LastDay = Annotated[
    datetime | None, typer.Option("--to", formats=_DATE_FORMATS, help="Last day, included.")
]


class ImportReport(Protocol):
    """What every import reports."""

    dry_run: bool
    refused: int
    refusals: list[Refusal]
    quarantine: Path | None
    stopped_before: int | None


def options_of(
    make: Callable[..., object], parameter: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``make``, so that commands can share them.

    Args:
        make: its parameters are options, all of them by keyword.
        parameter: the command's own parameter that takes what ``make`` returns; the options
            stand in its place.
    """
    options = inspect.signature(make).parameters

    def shared(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
            made = make(**{name: values.pop(name) for name in options})
            command(**values, **{parameter: made})

        own = inspect.signature(command)
        given: list[inspect.Parameter] = []
        for name, one in own.parameters.items():
            given += options.values() if name == parameter else [one]
        # Both are what Typer reads.
        with_options.__signature__ = own.replace(parameters=given)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in given}
        return with_options

    return shared


def day_of(moment: datetime | None) -> date | None:
    """The date of an option."""
    return moment.date() if moment else None


def print_next_page(cursor: str | None) -> None:
    """Say how to go on, where there is more."""
    if cursor is not None:
        messages.print(f"There is more: --after {cursor}", markup=False, soft_wrap=True)


def print_refusals(report: ImportReport) -> None:
    """Name the refused rows on the error stream, the first of them at least."""
    for refusal in report.refusals:
        messages.print(f"row {refusal.row}: {refusal.reason}", markup=False, soft_wrap=True)
    if report.refused > len(report.refusals):
        messages.print(
            f"… and {counted(report.refused - len(report.refusals), 'more refused row')}"
        )
    if report.quarantine is not None:
        results.print(f"Refused rows are in {report.quarantine}.", markup=False, soft_wrap=True)
    if report.stopped_before is not None:
        messages.print(
            f"Stopped before row {report.stopped_before}, because so many rows were refused. "
            "Neither that row nor any after it was looked at. Mend the file, or how it is read, "
            "and import it again; or allow more with --quarantine-mib.",
            soft_wrap=True,
        )


def exit_after_import(report: ImportReport) -> None:
    """End with the exit code that says so when rows were refused, or not even read."""
    if report.stopped_before is not None:
        raise typer.Exit(Exit.UNFINISHED)
    if report.refused:
        raise typer.Exit(Exit.PARTLY_REFUSED)
