"""`claimwright claims`: what was paid, to whom, for which event."""

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.options import (
    PAGE,
    FirstDay,
    LastDay,
    Limit,
    day_of,
    options_of,
    print_next_page,
)
from claimwright.cli.output import (
    AsJson,
    Whole,
    messages,
    print_json,
    print_table,
    progress,
    results,
)
from claimwright.cli.running import run
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import plain
from claimwright.domain.words import counted
from claimwright.files.tables import TableFormat, format_of
from claimwright.operations import export_claims, list_claims
from claimwright.operations.export_claims import ExportReport
from claimwright.runtime import Runtime
from claimwright.storage.listed_claims import ClaimsFilter, ListedClaim

app = typer.Typer(
    name="claims",
    no_args_is_help=True,
    help="Claims: each a layer of its policy's cover, named POLICY-CLAIM as in 1041-88.",
)

_COLUMNS = (
    "claim",
    "policy",
    "product",
    "region",
    "day",
    "time",
    "tier",
    "%",
    "amount",
    "",
    "status",
)
_LEAVING = ("product", "region", "%", "time")


def _wanted(
    *,
    policy: Annotated[str | None, typer.Option(help="One policy's claims, by its number.")] = None,
    region: Annotated[str | None, typer.Option(help="One region's claims.")] = None,
    product: Annotated[str | None, typer.Option(help="One product's claims.")] = None,
    period: Annotated[
        str | None, typer.Option(help="One benefit period: 2013-06-07, 2013-06 or term.")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="One tier's claims.")] = None,
    status: Annotated[
        str | None, typer.Option(help="One status of the claim's life cycle.")
    ] = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
) -> ClaimsFilter:
    return ClaimsFilter(
        policy_number=policy,
        region=region,
        product_code=product,
        period_key=period,
        tier_level=tier,
        status=status,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
    )


@app.command("list")
@options_of(_wanted, "wanted")
def list_(
    *,
    wanted: ClaimsFilter,
    limit: Limit = PAGE,
    after: Annotated[
        str | None, typer.Option(help="Begin after this claim, as in 1041-88.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List claims by policy, page by page; days and times are those of the policy's zone.

    A terminal too narrow for all columns does without product, region, % and time, in that order.
    """
    page = run(lambda runtime: list_claims.list_claims(runtime, wanted, limit=limit, after=after))
    if as_json:
        print_json(page)
        return
    print_table("Claims", _COLUMNS, map(_row, page.items), leaving=_LEAVING)
    for number, fault in {claim.policy_number: claim.fault for claim in page.items}.items():
        if fault:
            results.print(f"Policy {number} cannot be used: {fault}.", markup=False, soft_wrap=True)
    print_next_page(page.next_after)


def _row(claim: ListedClaim) -> tuple[object, ...]:
    return (
        Whole(claim.reference),
        claim.policy_number,
        claim.product,
        claim.region,
        claim.event_date,
        Whole(f"{claim.triggered_at:%H:%M %z}"),
        claim.tier,
        plain(claim.payout_percentage),
        claim.amount,
        claim.currency,
        Whole(claim.status),
    )


@app.command("export")
@options_of(_wanted, "wanted")
def export(
    path: Annotated[
        Path, typer.Argument(help="Ends in .csv, .json or .parquet; - is standard output.")
    ],
    *,
    table_format: Annotated[
        TableFormat | None, typer.Option("--format", help="For another name, or for -.")
    ] = None,
    wanted: ClaimsFilter,
    as_json: AsJson = False,
) -> None:
    """Write claims to PATH, all of them from one view of the database.

    Amounts are exact decimals. A file that is there already is replaced when the new one is
    complete, and is left as it was when anything fails.
    """
    to_stdout = str(path) == "-"
    if to_stdout and as_json:
        raise InvalidInputError("with - the claims themselves are the output: leave out --json")
    chosen = table_format or (TableFormat.CSV if to_stdout else format_of(path))
    target: Path | BinaryIO = sys.stdout.buffer if to_stdout else path

    async def operation(runtime: Runtime) -> ExportReport | None:
        with progress(quiet=as_json or to_stdout) as display:
            bar = display.add_task("Writing claims", total=None)
            try:
                return await export_claims.export_claims(
                    runtime,
                    wanted,
                    target,
                    chosen,
                    notify=lambda claims: display.update(bar, completed=claims),
                )
            except BrokenPipeError:
                return None  # whoever read standard output has seen enough

    report = run(operation)
    if report is None:
        raise typer.Exit(Exit.OUTPUT_CLOSED)
    if as_json:
        print_json(report)
    elif to_stdout:
        messages.print(f"{counted(report.claims, 'claim')} written.")
    else:
        verb = "is" if report.claims == 1 else "are"
        sentence = f"{counted(report.claims, 'claim')} {verb} in {path}."
        results.print(sentence, markup=False, soft_wrap=True)
