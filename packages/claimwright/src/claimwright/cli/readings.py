"""`claimwright readings`: measured values, as they were known first."""

from pathlib import Path
from typing import Annotated

import typer

from claimwright.cli.options import (
    PAGE,
    DryRun,
    FirstDay,
    LastDay,
    Limit,
    Quarantine,
    day_of,
    exit_after_import,
    print_next_page,
    print_refusals,
)
from claimwright.cli.output import AsJson, messages, print_json, print_table, progress, results
from claimwright.cli.running import run
from claimwright.domain.calendar import zone_named
from claimwright.domain.money import plain
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.files.texts import read_small_text
from claimwright.operations import import_readings, list_readings
from claimwright.operations.import_readings import ReadingsReport
from claimwright.operations.list_readings import readings_filter
from claimwright.runtime import Runtime

app = typer.Typer(
    name="readings",
    no_args_is_help=True,
    help="Readings: one measured value at a place and time. The first value known of an instant "
    "counts; another one is a restatement, kept beside it and not applied.",
)

Region = Annotated[str | None, typer.Option(help="One region's readings.")]
Variable = Annotated[str | None, typer.Option(help="One variable's readings.")]
Zone = Annotated[str, typer.Option(help="The zone of the days and of the printed times.")]
After = Annotated[
    int | None, typer.Option(min=0, max=2**63 - 1, help="Begin after the reading of this id.")
]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, or Parquet where the name ends in .parquet.")],
    *,
    mapping: Annotated[
        Path,
        typer.Option(help="Which column is what, as TOML; see docs/reference/readings-mapping.md."),
    ],
    quarantine: Quarantine = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Store the readings of FILE; running it again changes nothing.

    Good rows are stored a few thousand at a time, so an import that was interrupted is simply run
    again. Exits with 7 when rows were refused and all others stored; mend the quarantine file and
    import it with the same mapping.
    """
    rules = mapping_from_toml(read_small_text(mapping))
    is_parquet = import_readings.is_parquet(file)

    async def operation(runtime: Runtime) -> ReadingsReport:
        with progress(quiet=as_json, in_bytes=not is_parquet) as display:
            bar = display.add_task("Importing readings", total=None)
            return await import_readings.import_readings(
                runtime,
                file,
                rules,
                quarantine=quarantine,
                dry_run=dry_run,
                notify=lambda done, total, rows: display.update(
                    bar, description=f"{rows:,} rows", completed=done, total=total
                ),
            )

    report = run(operation)
    if as_json:
        print_json(report)
    else:
        _print_import(report)
    exit_after_import(report)


@app.command("list")
def list_(
    *,
    region: Region = None,
    variable: Variable = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    zone: Zone = "UTC",
    limit: Limit = PAGE,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List readings by region, variable and time, page by page."""
    wanted = readings_filter(
        region=region,
        variable=variable,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
        zone=zone,
    )
    page = run(
        lambda runtime: list_readings.list_readings(runtime, wanted, limit=limit, after_id=after)
    )
    if as_json:
        print_json(page)
        return
    print_table(
        "Readings",
        ("id", "region", "variable", "observed at", "value", "source", "restates"),
        (
            (
                reading.id,
                reading.region,
                reading.variable,
                reading.observed_at.astimezone(zone_named(zone)),
                plain(reading.value),
                reading.source,
                reading.restates_id,
            )
            for reading in page.items
        ),
    )
    print_next_page(page.next_after)


@app.command("restatements")
def restatements(
    *,
    region: Region = None,
    variable: Variable = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    zone: Zone = "UTC",
    limit: Limit = PAGE,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List values that came for instants whose value was known; none of them is applied."""
    wanted = readings_filter(
        region=region,
        variable=variable,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
        zone=zone,
    )
    page = run(
        lambda runtime: list_readings.list_restatements(
            runtime, wanted, limit=limit, after_id=after
        )
    )
    if as_json:
        print_json(page)
        return
    print_table(
        "Restatements",
        ("id", "region", "variable", "observed at", "known", "restated", "source"),
        (
            (
                reading.id,
                reading.region,
                reading.variable,
                reading.observed_at.astimezone(zone_named(zone)),
                plain(reading.known_value),
                plain(reading.restated_value),
                reading.source,
            )
            for reading in page.items
        ),
    )
    print_next_page(page.next_after)


@app.command("quarantined")
def quarantined(
    *,
    region: Region = None,
    variable: Variable = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    zone: Zone = "UTC",
    limit: Limit = PAGE,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List readings outside the plausible range of a product's terms; they never trigger it."""
    wanted = readings_filter(
        region=region,
        variable=variable,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
        zone=zone,
    )
    page = run(
        lambda runtime: list_readings.list_quarantined(runtime, wanted, limit=limit, after_id=after)
    )
    if as_json:
        print_json(page)
        return
    print_table(
        "Quarantined readings",
        ("id", "region", "variable", "observed at", "value", "product", "reason"),
        (
            (
                reading.reading_id,
                reading.region,
                reading.variable,
                reading.observed_at.astimezone(zone_named(zone)),
                plain(reading.value),
                reading.product,
                reading.reason,
            )
            for reading in page.items
        ),
    )
    print_next_page(page.next_after)


def _print_import(report: ReadingsReport) -> None:
    verb = "would be added" if report.dry_run else "added"
    results.print(
        f"{report.rows:,} rows: [bold]{report.added:,} readings {verb}[/bold], "
        f"{report.known:,} known already, {report.restated:,} restatements, "
        f"{report.refused:,} rows refused."
    )
    if report.first_observed_at and report.last_observed_at:
        results.print(
            f"Observed from {report.first_observed_at:%Y-%m-%d %H:%M} "
            f"to {report.last_observed_at:%Y-%m-%d %H:%M} UTC."
        )
    if report.implausible:
        messages.print(
            f"{report.implausible:,} readings are implausible to a product and never trigger it: "
            "claimwright readings quarantined"
        )
    if report.restated:
        messages.print("Restatements are not applied: claimwright readings restatements")
    print_refusals(report)
