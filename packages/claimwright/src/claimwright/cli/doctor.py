"""`claimwright doctor`: are the servers fit for work?"""

import asyncio

import typer
from rich.markup import escape
from rich.table import Table

from claimwright.cli.exits import Exit
from claimwright.cli.output import AsJson, print_json, results
from claimwright.cli.running import servers_of
from claimwright.operations.doctor import Diagnosis, Health, examine
from claimwright.runtime import Addresses, open_runtime
from claimwright.settings import Settings, load_settings

_STYLE = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "bold red"}


def doctor(*, as_json: AsJson = False) -> None:
    """Examine PostgreSQL and Redis: versions, schema, rights, guards, durability, clocks, work.

    Changes nothing. Exits with 4 when a check fails; warnings do not count.
    """
    settings = load_settings()
    with servers_of(settings) as addresses:
        diagnosis = asyncio.run(_examine(settings, addresses))
    if as_json:
        print_json({"healthy": diagnosis.healthy, "checks": diagnosis.checks})
    else:
        _print(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(Exit.UNAVAILABLE)


async def _examine(settings: Settings, addresses: Addresses) -> Diagnosis:
    async with open_runtime(settings, addresses) as runtime:
        return await examine(runtime)


def _print(diagnosis: Diagnosis) -> None:
    table = Table(header_style="bold")
    for column in ("Check", "", "Seen"):
        table.add_column(column, overflow="fold")
    for check in diagnosis.checks:
        style = _STYLE[check.health]
        table.add_row(check.name, f"[{style}]{check.health}[/{style}]", escape(check.detail))
    results.print(table)
