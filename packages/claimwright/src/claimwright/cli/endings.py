"""How commands end: each error is told once, and becomes its exit code."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Final, cast

import typer
from rich.markup import escape
from stamina.instrumentation import set_on_retry_hooks

from claimwright.cli.commands import app
from claimwright.cli.exits import Exit, exit_of
from claimwright.cli.failures import INTERRUPTED, Failure, wants_json
from claimwright.cli.output import messages
from claimwright.domain.errors import ClaimwrightError

# The class of all that a command line can be wrong in; Typer gives its subclass alone a name.
_USAGE_ERROR: Final = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])


def exit_code_of(arguments: Sequence[str]) -> int:
    """Run a command to its end, tell how it failed, and return its exit code.

    Messages go to the error stream; with `--json` a failure is a document on standard output
    too. An error that nobody expected has a code of its own: Python's 1 would read as a
    difference of `verify`; so would the 1 with which Rich and Typer answer a pipe that nobody reads
    any more. Ctrl-C interrupts the command alone and is ignored from then on.
    """
    try:
        ending = _ending_of(arguments)
        # An export that nobody reads any more may have closed the output with its own text layer.
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if not isinstance(error, BrokenPipeError) and not _is_of_a_closed_pipe(error):
            raise
        _discard_output()
        return Exit.OUTPUT_CLOSED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not isinstance(ending, Failure):
        return ending
    if wants_json(arguments):
        _print_document(ending)
    return ending.exit


def _is_of_a_closed_pipe(end: SystemExit) -> bool:
    return isinstance(end.__context__, BrokenPipeError)


def _ending_of(arguments: Sequence[str]) -> Failure | int:
    """The exit code of a command that ran, or why it failed, once that is on the error stream."""
    try:
        code = _run(arguments)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except ClaimwrightError as error:
        messages.print(f"[bold red]Error:[/bold red] {escape(str(error))}", soft_wrap=True)
        return Failure(type(error).__name__, exit_of(error), str(error), _facts(error))
    except _USAGE_ERROR as error:
        error.show()
        return Failure("UsageError", Exit.INVALID, error.format_message())
    except Exception as error:  # noqa: BLE001 - whatever it is, its traceback is shown
        traceback.print_exc()
        return Failure(type(error).__name__, Exit.DEFECT, str(error).partition("\n")[0])
    if code != Exit.INTERRUPTED:
        return code
    messages.print(INTERRUPTED.message)
    return INTERRUPTED


def _facts(error: ClaimwrightError) -> dict[str, object]:
    """The values an error carries; Typer leaves one of its own on it."""
    return {name: value for name, value in vars(error).items() if not name.startswith("_")}


def _run(arguments: Sequence[str]) -> int:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The one handler that asyncio replaces by a cancellation.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # It would write its own word for each retry, and nothing else. They are counted by the metrics.
    set_on_retry_hooks(())
    code = app(args=list(arguments), prog_name="claimwright", standalone_mode=False)
    return int(code or Exit.DONE)


def _print_document(failure: Failure) -> None:
    try:
        typer.echo(failure.as_json())
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    """Nobody reads; without this the interpreter complains when it flushes the rest."""
    for stream in (sys.stdout, sys.stderr):
        if stream.closed:
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
