"""The command ``contention``."""

import typer

from contention.isolation.cli import isolation

app = typer.Typer(
    name="contention",
    help="Prove what code that takes locks promises, on real PostgreSQL and real Redis.",
    no_args_is_help=True,
)
app.add_typer(isolation)


def main() -> None:
    """Run the command line."""
    app()
