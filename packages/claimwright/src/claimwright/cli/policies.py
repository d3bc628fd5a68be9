"""`claimwright policies`: who is covered, where, for how much."""

from pathlib import Path
from typing import Annotated

import typer

from claimwright.cli.options import (
    PAGE,
    DryRun,
    Limit,
    Quarantine,
    QuarantineMib,
    exit_after_import,
    print_next_page,
    print_refusals,
)
from claimwright.cli.output import (
    AsJson,
    print_json,
    print_table,
    progress,
    results,
    rows_shown_on,
)
from claimwright.cli.running import run
from claimwright.domain.words import counted
from claimwright.files.quarantine import QUARANTINE_MIB
from claimwright.files.rows import Dialect
from claimwright.operations import import_policies, list_policies
from claimwright.operations.import_policies import PoliciesReport
from claimwright.runtime import Runtime

app = typer.Typer(
    name="policies",
    no_args_is_help=True,
    help="Policies: a cover bound to product terms, a region, a currency and a time zone.",
)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns policy_number, product, region, coverage_amount, currency, "
            "zone, first_day, last_day and, if you like, version."
        ),
    ],
    *,
    delimiter: Annotated[str, typer.Option(help="The character between cells.")] = ",",
    encoding: Annotated[str, typer.Option(help="The file's text encoding.")] = "utf-8",
    quarantine: Quarantine = None,
    quarantine_mib: QuarantineMib = QUARANTINE_MIB,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Store the policies of FILE; running it again changes nothing.

    Dates are local to the policy's zone, both included; amounts are plain decimals. A stored
    policy never changes in what it pays: a row with its number and other content is refused.
    Exits with 7 when rows were refused and all others stored; mend the quarantine file and
    import it.
    """

    async def operation(runtime: Runtime) -> PoliciesReport:
        with progress(quiet=as_json, in_bytes=True) as display:
            return await import_policies.import_policies(
                runtime,
                file,
                dialect=Dialect(encoding, delimiter),
                quarantine=quarantine,
                quarantine_mib=quarantine_mib,
                dry_run=dry_run,
                notify=rows_shown_on(display, "Importing policies"),
            )

    report = run(operation)
    if as_json:
        print_json(report)
    else:
        verb = "would be added" if dry_run else "added"
        results.print(
            f"{counted(report.rows, 'row')}: "
            f"[bold]{counted(report.added, 'policy', 'policies')} {verb}[/bold], "
            f"{report.known:,} known already, {report.refused:,} refused."
        )
        print_refusals(report)
    exit_after_import(report)


@app.command("list")
def list_(
    *,
    product: Annotated[str | None, typer.Option(help="One product's policies.")] = None,
    region: Annotated[str | None, typer.Option(help="One region's policies.")] = None,
    limit: Limit = PAGE,
    after: Annotated[str | None, typer.Option(help="Begin after this policy number.")] = None,
    as_json: AsJson = False,
) -> None:
    """List policies by number, page by page."""
    page = run(
        lambda runtime: list_policies.list_policies(
            runtime, product_code=product, region=region, limit=limit, after_number=after
        )
    )
    if as_json:
        print_json(page)
        return
    print_table(
        "Policies",
        ("number", "product", "region", "cover", "currency", "zone", "first day", "last day"),
        (
            (
                policy.policy_number,
                f"{policy.product} v{policy.product_version}",
                policy.region,
                policy.coverage_amount,
                policy.currency,
                policy.zone,
                policy.first_day,
                f"{policy.last_day}, cancelled on {policy.cancelled_on}"
                if policy.cancelled_on
                else policy.last_day,
            )
            for policy in page.items
        ),
    )
    for policy in page.items:
        if policy.fault:
            sentence = f"Policy {policy.policy_number} cannot be used: {policy.fault}."
            results.print(sentence, markup=False, soft_wrap=True)
    print_next_page(page.next_after)
