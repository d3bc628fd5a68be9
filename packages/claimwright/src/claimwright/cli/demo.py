"""`claimwright demo`: a year of real weather, two racing runs, and what was paid."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.output import (
    AsJson,
    Formatted,
    messages,
    print_json,
    print_table,
    progress,
    results,
)
from claimwright.demo.facts import DemoFacts, Step
from claimwright.demo.run import FEWEST_POLICIES, MOST_POLICIES, DemoOptions, run_demo
from claimwright.domain.money import format_money, from_minor, plain
from claimwright.domain.words import counted
from claimwright.operations.calculate_days import WORKERS

_PROBLEMS_SHOWN = 10


def demo(
    *,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the servers' data in this new folder; default: temporary."),
    ] = None,
    policies: Annotated[
        int, typer.Option(min=FEWEST_POLICIES, max=MOST_POLICIES, help="How many policies.")
    ] = 3_000,
    workers: Annotated[
        int, typer.Option(min=1, max=40, help="Chunks at once, in each of two processes.")
    ] = WORKERS,
    output: Annotated[Path, typer.Option(help="Where claims.csv and report.html go.")] = Path(
        "demo-output"
    ),
    as_json: AsJson = False,
) -> None:
    """Settle New York's weather of 2013 while a second run races the first; show what was paid.

    It starts servers of its own, never uses those the environment names, and stops them at the
    end. Exits with 1 when anything is paid twice, missing, or not as the weather makes it due.
    """
    options = DemoOptions(policies, workers, output, folder)
    with progress(quiet=as_json) as display:
        bar = display.add_task("Starting", total=None)

        def finished(step: Step) -> None:
            if not as_json:
                messages.print(f"{step.seconds:6.1f} s  {step.name}")

        facts = run_demo(
            options,
            notify=lambda stage, done, total: display.update(
                bar, description=stage, completed=done, total=total
            ),
            finished=finished,
        )
    finish(facts, as_json=as_json)


def finish(facts: DemoFacts, *, as_json: bool) -> None:
    """Say what was found.

    Raises:
        typer.Exit: with 1, when something is not as it must be.
    """
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)
    if facts.problems:
        raise typer.Exit(Exit.DIFFERENCE)


def _print_facts(facts: DemoFacts) -> None:
    _print_tiers(facts)
    _print_weather(facts)
    _print_race(facts)
    found = facts.verification
    results.print(
        f"Verified: {counted(found.policies, 'policy', 'policies')}, "
        f"{counted(found.claims, 'claim')} against "
        f"{counted(facts.readings, 'reading')}: [bold]{found.verdict.value.upper()}[/bold]"
    )
    if facts.problems:
        for problem in facts.problems[:_PROBLEMS_SHOWN]:
            messages.print(f"[bold red]Wrong:[/bold red] {problem}")
    else:
        results.print("[bold green]Each claim is paid exactly once.[/bold green]")
    seconds = sum(step.seconds for step in facts.steps)
    results.print(f"{seconds:.1f} s. Wrote {facts.claims_file} and {facts.report_file}")
    if facts.folder is not None:
        results.print(
            f"Look around: CLAIMWRIGHT_DATA_FOLDER={facts.folder} claimwright claims list"
        )


def _print_tiers(facts: DemoFacts) -> None:
    for product, tiers in groupby(facts.tiers, key=lambda tier: tier.product):
        print_table(
            product,
            ("at", "tier", "from", "events", "claims", f"paid ({facts.currency})", "duplicates"),
            [
                (
                    tier.region,
                    f"{tier.tier} {plain(tier.payout_percent)} %",
                    f"{tier.threshold:.2f} {tier.unit}",
                    tier.events,
                    tier.claims,
                    Formatted(f"{from_minor(tier.paid_minor, facts.currency):,f}"),
                    tier.duplicates,
                )
                for tier in tiers
            ],
        )
    results.print(
        f"{counted(facts.policies, 'policy', 'policies')}: {counted(facts.events, 'event')}, "
        f"{counted(facts.claims, 'claim')}, "
        f"{format_money(facts.paid_minor, facts.currency)} paid, "
        f"{counted(facts.duplicates, 'duplicate')}"
    )


def _print_weather(facts: DemoFacts) -> None:
    days = ", ".join(f"{found.region} {found.days}" for found in facts.rainy_days)
    results.print(f"Days with at least 1.00 in of rain: {days}")
    for reading in facts.quarantined:
        results.print(
            f"Quarantined: {reading.region} {reading.observed_at:%Y-%m-%d %H:%M}, "
            f"{reading.variable}: {reading.reason}"
        )


def _print_race(facts: DemoFacts) -> None:
    ours, theirs = facts.race
    results.print(
        f"Raced: this process created {counted(ours.claims, 'claim')}, "
        f"the other one {theirs.claims:,}, "
        f"in {counted(ours.calculations + theirs.calculations, 'calculation')}; "
        f"{counted(ours.contended + theirs.contended, 'time')} one found the other at work. "
        f"Again: {counted(facts.again.claims, 'new claim')}."
    )
