"""`claimwright readings`: measured values, as they were known first."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from claimwright.cli.options import (
    PAGE,
    DryRun,
    FirstDay,
    LastDay,
    Limit,
    Quarantine,
    QuarantineMib,
    day_of,
    exit_after_import,
    options_of,
    print_next_page,
    print_refusals,
)
from claimwright.cli.output import (
    AsJson,
    Whole,
    messages,
    print_json,
    print_table,
    progress,
    results,
    rows_shown_on,
)
from claimwright.cli.running import run
from claimwright.domain.calendar import zone_named
from claimwright.domain.money import plain
from claimwright.domain.words import counted
from claimwright.files.mapping_text import mapping_from_toml
from claimwright.files.quarantine import QUARANTINE_MIB
from claimwright.files.texts import read_small_text
from claimwright.operations import import_readings, list_readings
from claimwright.operations.import_readings import ReadingsReport
from claimwright.operations.list_readings import readings_filter
from claimwright.runtime import Runtime
from claimwright.storage.listed_readings import (
    ListedQuarantine,
    ListedReading,
    ListedRestatement,
    ReadingsFilter,
)
from claimwright.storage.pages import Page

app = typer.Typer(
    name="readings",
    no_args_is_help=True,
    help="Readings: one measured value at a place and time. The first value known of an instant "
    "counts; another one is a restatement, kept beside it and not applied.",
)

Item = TypeVar("Item", ListedReading, ListedRestatement, ListedQuarantine)
_WHERE = {"region": "region", "variable": "variable", "observed at": "observed_at"}


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, or Parquet where the name ends in .parquet.")],
    *,
    mapping: Annotated[
        Path,
        typer.Option(help="Which column is what, as TOML; see docs/reference/readings-mapping.md."),
    ],
    quarantine: Quarantine = None,
    quarantine_mib: QuarantineMib = QUARANTINE_MIB,
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
            return await import_readings.import_readings(
                runtime,
                file,
                rules,
                quarantine=quarantine,
                quarantine_mib=quarantine_mib,
                dry_run=dry_run,
                notify=rows_shown_on(display, "Importing readings"),
            )

    report = run(operation)
    if as_json:
        print_json(report)
    else:
        _print_import(report)
    exit_after_import(report)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which page of readings, and the zone of its days and times."""

    wanted: ReadingsFilter
    zone: ZoneInfo
    limit: int
    after_id: int | None


def _asked(
    *,
    region: Annotated[str | None, typer.Option(help="One region's readings.")] = None,
    variable: Annotated[str | None, typer.Option(help="One variable's readings.")] = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    zone: Annotated[str, typer.Option(help="The zone of the days and of all times.")] = "UTC",
    limit: Limit = PAGE,
    after: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Begin after the reading of this id.")
    ] = None,
) -> _Asked:
    wanted = readings_filter(
        region=region,
        variable=variable,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
        zone=zone,
    )
    return _Asked(wanted, zone_named(zone), limit, after)


@app.command("list")
@options_of(_asked, "asked")
def list_(*, asked: _Asked, as_json: AsJson = False) -> None:
    """List readings by region, variable and time, page by page."""
    columns = {"value": "value", "source": "source", "restates": "restates_id"}
    page = _page(list_readings.list_readings, asked)
    shown = {"id": "id", **_WHERE, **columns}
    _show("Readings", page, shown, leaving=("restates", "source", "id"), as_json=as_json)


@app.command("restatements")
@options_of(_asked, "asked")
def restatements(*, asked: _Asked, as_json: AsJson = False) -> None:
    """List values that came for instants whose value was known; none of them is applied."""
    columns = {"known": "known_value", "restated": "restated_value", "source": "source"}
    page = _page(list_readings.list_restatements, asked)
    shown = {"id": "id", **_WHERE, **columns}
    _show("Restatements", page, shown, leaving=("source", "id"), as_json=as_json)


@app.command("quarantined")
@options_of(_asked, "asked")
def quarantined(*, asked: _Asked, as_json: AsJson = False) -> None:
    """List readings outside the plausible range of a product's terms; they never trigger it."""
    columns = {"value": "value", "product": "product", "reason": "reason"}
    page = _page(list_readings.list_quarantined, asked)
    shown = {"id": "reading_id", **_WHERE, **columns}
    _show("Quarantined readings", page, shown, leaving=("product", "id"), as_json=as_json)


def _page(fetch: Callable[..., Awaitable[Page[Item]]], asked: _Asked) -> Page[Item]:
    """A page whose times are in the zone that was asked for."""
    page = run(
        lambda runtime: fetch(runtime, asked.wanted, limit=asked.limit, after_id=asked.after_id)
    )
    return replace(page, items=[_in_zone(item, asked.zone) for item in page.items])


def _in_zone(item: Item, zone: ZoneInfo) -> Item:
    values = {one.name: getattr(item, one.name) for one in fields(item)}
    local: dict[str, Any] = {
        name: value.astimezone(zone)
        for name, value in values.items()
        if isinstance(value, datetime)
    }
    return replace(item, **local)


def _show(
    title: str,
    page: Page[Item],
    columns: Mapping[str, str],
    *,
    leaving: Sequence[str],
    as_json: bool,
) -> None:
    """Print a page; each column names the attribute that stands under it."""
    if as_json:
        print_json(page)
        return
    rows = ([_cell(getattr(item, name)) for name in columns.values()] for item in page.items)
    print_table(title, list(columns), rows, leaving=leaving)
    print_next_page(page.next_after)


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime) and value.tzname() == "UTC":
        return Whole(f"{value:%Y-%m-%d %H:%M:%SZ}")
    return value


def _print_import(report: ReadingsReport) -> None:
    verb = "would be added" if report.dry_run else "added"
    results.print(
        f"{counted(report.rows, 'row')}: "
        f"[bold]{counted(report.added, 'reading')} {verb}[/bold], "
        f"{report.known:,} known already, {counted(report.restated, 'restatement')}, "
        f"{counted(report.refused, 'row')} refused."
    )
    if report.first_observed_at and report.last_observed_at:
        results.print(
            f"Observed from {report.first_observed_at:%Y-%m-%d %H:%M} "
            f"to {report.last_observed_at:%Y-%m-%d %H:%M} UTC."
        )
    if report.implausible:
        verbs = ("is", "triggers") if report.implausible == 1 else ("are", "trigger")
        messages.print(
            f"{counted(report.implausible, 'reading')} {verbs[0]} implausible to a product "
            f"and never {verbs[1]} it: claimwright readings quarantined"
        )
    if report.restated:
        messages.print("Restatements are not applied: claimwright readings restatements")
    print_refusals(report)
