"""Every command of `claimwright`, put together."""

import typer

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
    work,
    worker,
)

app = typer.Typer(
    name="claimwright",
    help="Parametric-insurance claims: readings become risk events, risk events become claims, "
    "and each claim is paid exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 1 differences, 2 invalid input, 3 not found, 4 server unavailable, "
    "5 unfinished, 6 work pending, 7 rows refused, 70 a defect, 130 interrupted, "
    "141 output closed.",
)
app.command("init")(init.init)
app.add_typer(products.app)
app.add_typer(policies.app)
app.add_typer(readings.app)
app.command("calculate")(calculate.calculate)
claims.app.command("void")(void.void)
app.add_typer(claims.app)
app.command("explain")(explain.explain)
app.command("worker")(worker.worker)
app.command("beat")(worker.beat)
app.add_typer(work.app)
app.command("verify")(verify.verify_command)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
