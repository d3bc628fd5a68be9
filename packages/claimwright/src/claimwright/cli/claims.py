"""`claimwright claims`: what was paid, to whom, for which event."""

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from claimwright.cli.options import PAGE, FirstDay, LastDay, Limit, day_of, print_next_page
from claimwright.cli.output import AsJson, messages, print_json, print_table, progress, results
from claimwright.cli.running import run
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import plain
from claimwright.files.tables import TableFormat, format_of
from claimwright.operations import export_claims, list_claims
from claimwright.operations.export_claims import ExportReport
from claimwright.runtime import Runtime
from claimwright.storage.listed_claims import ClaimsFilter

app = typer.Typer(
    name="claims",
    no_args_is_help=True,
    help="Claims: each a layer of its policy's cover, named POLICY-CLAIM as in 1041-88.",
)

Policy = Annotated[str | None, typer.Option(help="One policy's claims, by its number.")]
Region = Annotated[str | None, typer.Option(help="One region's claims.")]
Product = Annotated[str | None, typer.Option(help="One product's claims.")]
Period = Annotated[
    str | None, typer.Option(help="One benefit period: 2013-06-07, 2013-06 or term.")
]
Tier = Annotated[str | None, typer.Option(help="One tier's claims.")]
Status = Annotated[str | None, typer.Option(help="One status of the claim's life cycle.")]


@app.command("list")
def list_(
    *,
    policy: Policy = None,
    region: Region = None,
    product: Product = None,
    period: Period = None,
    tier: Tier = None,
    status: Status = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    limit: Limit = PAGE,
    after: Annotated[
        str | None, typer.Option(help="Begin after this claim, as in 1041-88.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List claims by policy, page by page; days are those of the policy's zone."""
    wanted = ClaimsFilter(
        policy_number=policy,
        region=region,
        product_code=product,
        period_key=period,
        tier_level=tier,
        status=status,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
    )
    page = run(lambda runtime: list_claims.list_claims(runtime, wanted, limit=limit, after=after))
    if as_json:
        print_json(page)
        return
    print_table(
        "Claims",
        (
            "claim",
            "policy",
            "product",
            "region",
            "triggered at",
            "tier",
            "%",
            "amount",
            "",
            "status",
        ),
        (
            (
                claim.reference,
                claim.policy_number,
                claim.product,
                claim.region,
                f"{claim.triggered_at:%Y-%m-%d %H:%M %z}",
                claim.tier,
                plain(claim.payout_percentage),
                claim.amount,
                claim.currency,
                claim.status,
            )
            for claim in page.items
        ),
    )
    print_next_page(page.next_after)


@app.command("export")
def export(
    path: Annotated[
        Path, typer.Argument(help="Ends in .csv, .json or .parquet; - is standard output.")
    ],
    *,
    table_format: Annotated[
        TableFormat | None, typer.Option("--format", help="For another name, or for -.")
    ] = None,
    policy: Policy = None,
    region: Region = None,
    product: Product = None,
    period: Period = None,
    tier: Tier = None,
    status: Status = None,
    from_day: FirstDay = None,
    to_day: LastDay = None,
    as_json: AsJson = False,
) -> None:
    """Write claims to PATH, all of them from one view of the database.

    Amounts are exact decimals. A file that is there already is replaced when the new one is
    complete, and is left as it was when anything fails.
    """
    wanted = ClaimsFilter(
        policy_number=policy,
        region=region,
        product_code=product,
        period_key=period,
        tier_level=tier,
        status=status,
        first_day=day_of(from_day),
        last_day=day_of(to_day),
    )
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
        return
    if as_json:
        print_json(report)
    elif to_stdout:
        messages.print(f"{report.claims:,} claims written.")
    else:
        results.print(f"{report.claims:,} claims are in {path}.", markup=False, soft_wrap=True)
