"""`claimwright verify`: is everything that is due paid once, and nothing else?"""

from typing import Annotated

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.output import AsJson, Whole, print_json, print_table, progress, results
from claimwright.cli.running import run
from claimwright.domain.money import format_money
from claimwright.domain.words import counted
from claimwright.operations.verify import Finding, Verdict, Verification, verify
from claimwright.runtime import Runtime

_EXIT_OF_VERDICT = {
    Verdict.CLEAN: Exit.DONE,
    Verdict.PENDING: Exit.PENDING,
    Verdict.DIFFERENT: Exit.DIFFERENCE,
}


def verify_command(
    *,
    product: Annotated[str | None, typer.Option(help="One product's policies alone.")] = None,
    region: Annotated[str | None, typer.Option(help="One region's policies alone.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=100_000, help="Differences named; all are counted.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Recompute what is due from the readings and compare it with every claim.

    Reads one unchanging view of the database, and changes nothing. Exits with 0 when every
    claim is right, with 1 on any difference and on what cannot be verified, with 3 when there is
    no such product or region, and with 6 when requested work is pending and nothing else is wrong
    than what that work would still pay.
    """

    async def operation(runtime: Runtime) -> Verification:
        with progress(quiet=as_json) as display:
            bar = display.add_task("Starting", total=None)
            return await verify(
                runtime,
                product_code=product,
                region=region,
                most_findings=limit,
                notify=lambda stage, done, total: display.update(
                    bar, description=stage, completed=done, total=total
                ),
            )

    verification = run(operation)
    if as_json:
        print_json(verification)
    else:
        _print(verification)
    raise typer.Exit(_EXIT_OF_VERDICT[verification.verdict])


def _print(found: Verification) -> None:
    results.print(
        f"{counted(found.policies, 'policy', 'policies')}, {counted(found.periods, 'period')}, "
        f"{counted(found.claims, 'live claim')}, "
        f"as of {found.snapshot_at:%Y-%m-%d %H:%M:%S} UTC."
    )
    for currency, amount_minor in found.paid_minor.items():
        results.print(f"Paid: {format_money(amount_minor, currency)}")
    count = sum(found.differences.values())
    if found.findings:
        columns = ("Kind", "Where", "Due", "Stored", "What")
        print_table(counted(count, "difference"), columns, map(_row, found.findings))
        if count > len(found.findings):
            results.print(f"… and {count - len(found.findings):,} more; --limit names them.")
    results.print(_sentence(found, count))


def _row(finding: Finding) -> tuple[object, ...]:
    place = f"{finding.product}, {finding.region}" if finding.region else finding.product
    where = finding.policy_number or place
    period = finding.period_key or finding.day
    return (
        Whole(f"{finding.kind} (pending)" if finding.pending else finding.kind),
        f"{where}, {period}" if period else where,
        _money(finding.due_minor, finding.currency),
        _money(finding.paid_minor, finding.currency),
        finding.sentence,
    )


def _money(amount_minor: int | None, currency: str | None) -> str:
    return "" if amount_minor is None or not currency else format_money(amount_minor, currency)


def _sentence(found: Verification, count: int) -> str:
    verb = "is" if found.pending.requests == 1 else "are"
    requests = f"{counted(found.pending.requests, 'request')} {verb} pending"
    if found.pending.dead:
        given_up = "given up: claimwright work list --dead"
        requests += f" ({found.pending.dead:,} of them {given_up})"
    if found.pending.oldest is not None:
        requests += f", the oldest since {found.pending.oldest:%Y-%m-%d %H:%M:%S} UTC"
    if found.verdict is Verdict.CLEAN:
        return "[bold green]CLEAN[/bold green] Everything that is due is paid once."
    if found.verdict is Verdict.PENDING:
        return f"[bold yellow]PENDING[/bold yellow] {requests}; nothing else is wrong."
    also = f" {requests}." if found.pending.requests else ""
    return f"[bold red]DIFFERENT[/bold red] {counted(count, 'difference')}.{also}"
