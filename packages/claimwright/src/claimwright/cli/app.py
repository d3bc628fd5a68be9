"""The command `claimwright`: its parts, and what happens to their errors."""

import sys
import traceback

import typer
from rich.markup import escape

from claimwright.cli import (
    calculate,
    claims,
    demo,
    doctor,
    explain,
    init,
    policies,
    products,
    readings,
    verify,
    void,
)
from claimwright.cli.exits import Exit, exit_of
from claimwright.cli.output import messages
from claimwright.domain.errors import ClaimwrightError

app = typer.Typer(
    name="claimwright",
    help="Parametric-insurance claims: readings become risk events, risk events become claims, "
    "and each claim is paid exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 1 differences, 2 invalid input, 3 not found, 4 server unavailable, "
    "5 unfinished, 6 work pending, 7 rows refused, 70 a defect, 130 interrupted.",
)
app.command("init")(init.init)
app.add_typer(products.app)
app.add_typer(policies.app)
app.add_typer(readings.app)
app.command("calculate")(calculate.calculate)
claims.app.command("void")(void.void)
app.add_typer(claims.app)
app.command("explain")(explain.explain)
app.command("verify")(verify.verify_command)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; every expected error becomes one sentence and its exit code.

    Any other error has a code of its own: Python's 1 would read as a difference of `verify`.
    """
    try:
        app(standalone_mode=True)
    except ClaimwrightError as error:
        messages.print(f"[bold red]Error:[/bold red] {escape(str(error))}", soft_wrap=True)
        sys.exit(exit_of(error))
    except SystemExit as end:
        # Typer turns Ctrl-C into this code, and says nothing.
        if end.code == Exit.INTERRUPTED:
            messages.print("Interrupted; nothing is half done, run it again to go on.")
        raise
    except Exception:  # noqa: BLE001 - whatever it is, its traceback is shown and its code is ours
        traceback.print_exc()
        sys.exit(Exit.DEFECT)
