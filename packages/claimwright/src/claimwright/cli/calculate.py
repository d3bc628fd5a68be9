"""`claimwright calculate`: readings to events, events to claims."""

from datetime import date, datetime
from typing import Annotated

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.output import AsJson, messages, print_json, progress, results
from claimwright.cli.running import run
from claimwright.domain.words import counted
from claimwright.operations.calculate_days import WORKERS, calculate_days, whole_scope
from claimwright.operations.run_reports import RunReport, Scope
from claimwright.runtime import Runtime

_FAILURES_SHOWN = 10


def calculate(
    *,
    from_day: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="First local date, in each policy's zone; by default the first that is known.",
        ),
    ] = None,
    to_day: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Last local date, included; by default the last that is known.",
        ),
    ] = None,
    product: Annotated[str | None, typer.Option(help="One product's policies alone.")] = None,
    region: Annotated[str | None, typer.Option(help="One region's policies alone.")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Do again what has been done for these days.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Chunks of policies under way at once.")
    ] = WORKERS,
    as_json: AsJson = False,
) -> None:
    """Do what readings, events and policies ask for on these local days, both ends included.

    It may run as often and as many times at once as you like: runs share the work, and each claim
    is paid once. One that was stopped is gone on with by the next. Exits with 5 when something
    failed; run it again. Exits with 5, too, when a stored policy or product cannot be used; all
    others are calculated. Exits with 3 when there is no such product or region.
    """

    async def operation(runtime: Runtime) -> RunReport | None:
        known = await whole_scope(runtime, product_code=product, region=region)
        first, last = _day(from_day), _day(to_day)
        if known is None and (first is None or last is None):
            return None
        if known is not None:
            first, last = first or known.first, last or known.last
        assert first is not None and last is not None  # noqa: S101, PT018 - the cases above
        scope = Scope(first, last, product, region)
        with progress(quiet=as_json) as display:
            bar = display.add_task("Starting", total=None)
            return await calculate_days(
                runtime,
                scope,
                everything=everything,
                workers=workers,
                notify=lambda stage, done, total: display.update(
                    bar, description=stage, completed=done, total=total
                ),
            )

    report = run(operation)
    if as_json:
        print_json(report)
    elif report is None:
        results.print("No readings and no events are stored yet: nothing to calculate.")
    else:
        _print_report(report)
    if report is not None and not report.is_complete:
        raise typer.Exit(Exit.UNFINISHED)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _print_report(report: RunReport) -> None:
    scope = report.scope
    results.print(
        f"{scope.first} to {scope.last}: {counted(report.days_evaluated, 'day')} evaluated, "
        f"{counted(report.calculations, 'calculation')}, "
        f"{counted(report.terms, 'whole term')}, "
        f"[bold]{counted(report.claims, 'new claim')}[/bold]"
        + (f", {report.contended:,} put off for another run" if report.contended else "")
        + "."
    )
    if report.days_incomplete:
        verb = "settles" if report.days_incomplete == 1 else "settle"
        results.print(
            f"{counted(report.days_incomplete, 'day')} {verb} once all readings are known."
        )
    left_undone = [str(record) for record in report.unusable] + [
        f"{failure.work}: {failure.reason}" for failure in report.failures
    ]
    for sentence in left_undone[:_FAILURES_SHOWN]:
        messages.print(sentence, markup=False, soft_wrap=True)
    if len(left_undone) > _FAILURES_SHOWN:
        messages.print(f"… and {len(left_undone) - _FAILURES_SHOWN:,} more")
