"""`claimwright explain`: from the readings to the cent, and what was not paid and why."""

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from claimwright.cli.output import AsJson, print_json, print_table, results
from claimwright.cli.running import run
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.explanation_facts import Explanation, ReadingLine, Step
from claimwright.domain.money import plain
from claimwright.domain.references import parse_claim_reference
from claimwright.operations.explain import explain_one_claim, explain_policy
from claimwright.runtime import Runtime


def explain(
    claim: Annotated[
        str | None, typer.Argument(metavar="[CLAIM]", help="The claim, such as 1041-88.")
    ] = None,
    *,
    policy: Annotated[
        str | None, typer.Option(help="A policy's number, with --day or --period.")
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A local date of the policy's zone."),
    ] = None,
    period: Annotated[
        str | None, typer.Option(help="A benefit period: 2013-06-07, 2013-06 or term.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a claim, or why a policy's day or period pays what it pays.

    A claim is explained from the readings as they were known then: index by hour, tier, full
    amount, layer, limit, rounding; and what was not paid, and why. With --policy and --day or
    --period, the readings are those known now.
    """
    if (claim is None) == (policy is None):
        raise InvalidInputError("name a claim, or a --policy with a --day or --period")
    if claim is not None and (day is not None or period is not None):
        raise InvalidInputError("--day and --period go with --policy; a claim has its own day")
    reference = parse_claim_reference(claim) if claim is not None else None

    async def operation(runtime: Runtime) -> Explanation:
        if reference is not None:
            return await explain_one_claim(runtime, *reference)
        asked = day.date() if day else None
        return await explain_policy(runtime, policy or "", day=asked, period=period)

    explanation = run(operation)
    if as_json:
        print_json(explanation)
    else:
        _print(explanation)


def _print(found: Explanation) -> None:
    results.print(f"[bold]{escape(found.answer)}[/bold]", soft_wrap=True)
    if found.readings:
        known = "as known then" if found.claim else "as known now"
        columns = ("Local time", "UTC", found.unit, "Index", "Crosses", "Note")
        print_table(f"Readings of {found.region}, {known}", columns, map(_row, found.readings))
    _print_steps("How it follows", found.steps)
    _print_steps("What was not paid, and why", found.not_paid)
    if found.known_today:
        results.print("[bold]Known by now, not then[/bold]")
        for sentence in found.known_today:
            results.print(f"  {escape(sentence)}", soft_wrap=True)


def _row(line: ReadingLine) -> tuple[object, ...]:
    return (
        line.local_time.isoformat(" ", timespec="minutes"),
        f"{line.utc_time:%H:%M}",
        plain(line.value),
        "" if line.index is None else plain(line.index),
        ", ".join(line.crosses),
        line.note,
    )


def _print_steps(title: str, steps: tuple[Step, ...]) -> None:
    if steps:
        results.print(f"[bold]{title}[/bold]")
    for step in steps:
        results.print(f"  [cyan]{step.name}[/cyan]  {escape(step.sentence)}", soft_wrap=True)
