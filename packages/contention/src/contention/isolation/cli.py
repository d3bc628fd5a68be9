"""The commands ``isolation run`` and ``isolation matrix``."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from contention.isolation.comparison import Comparison, compare, missing_part
from contention.isolation.errors import (
    IsolationError,
    RunAborted,
    SpecError,
    UnusableFile,
)
from contention.isolation.matrix import run_matrix
from contention.isolation.matrix_formats import (
    matrix_as_csv,
    matrix_as_json,
    matrix_as_markdown,
    matrix_as_table,
)
from contention.isolation.runner import STEP_SECONDS
from contention.isolation.suite import Outcome, database_for_run, read_specs, run_file

isolation = typer.Typer(
    name="isolation",
    help="Run isolation tests, and show what each isolation level allows.",
    no_args_is_help=True,
)


class Exit(IntEnum):
    """What the exit codes of these commands say."""

    DONE = 0
    FAILED = 1
    """A spec ended early, or its output differs from what was expected or has no expectation."""
    MALFORMED = 2
    """A file or an option cannot be used."""
    NO_SERVER = 3
    """The server is missing, or lacks or refuses what a run needs."""
    INTERRUPTED = 130
    """Ctrl-C; what was running was cancelled and removed."""


Url = Annotated[
    str | None,
    typer.Option(help="The PostgreSQL server to use; without it, one of the kit's own."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@isolation.command()
def run(
    files: Annotated[list[Path], typer.Argument(help="Spec files, or folders of them.")],
    *,
    url: Url = None,
    use_existing: Annotated[
        bool,
        typer.Option(
            "--use-existing",
            help="Run in the database that --url names, as it is, instead of a fresh one.",
        ),
    ] = False,
    expected: Annotated[
        Path | None,
        typer.Option(
            help="A folder of expected output files: show which are equal, and differences.",
            file_okay=False,
            exists=True,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A folder into which each transcript is written.", file_okay=False),
    ] = None,
    as_json: Json = False,
    step_seconds: Annotated[
        float | None,
        typer.Option(
            help="Cancel a step after so many seconds; twice PG_TEST_TIMEOUT_DEFAULT, or "
            f"{STEP_SECONDS:g}.",
            min=0.1,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--setting", help="NAME=VALUE for the kit's own server; repeatable."),
    ] = None,
    extensions: Annotated[
        list[str] | None,
        typer.Option("--load-extension", help="An extension for the database; repeatable."),
    ] = None,
) -> None:
    """Run isolation specs in PostgreSQL's format and print what its isolationtester prints."""
    if use_existing and (url is None or extensions):
        raise typer.BadParameter("--use-existing needs --url and takes no --load-extension")
    if settings and url is not None:
        raise typer.BadParameter("--setting is for the kit's own server, without --url")
    with _facts_as_exits(), _terminated_as_exit():
        specs = read_specs(files)
        _forget_client_settings()
        is_quiet = as_json or expected is not None
        judged: list[Judged] = []
        with database_for_run(
            url,
            use_existing=use_existing,
            settings=dict(map(_setting, settings or [])),
            extensions=extensions or [],
        ) as database:
            for spec in specs:
                write = _ignore if is_quiet else _write
                limit = _step_seconds(step_seconds)
                outcome = run_file(spec, database=database, write=write, step_seconds=limit)
                _keep(outcome, output)
                judged.append(_judge(outcome, expected))
                if expected and not as_json:
                    _print_comparison(judged[-1])
        if as_json:
            _write(json.dumps(_summary(judged), indent=2).encode() + b"\n")
        elif expected:
            _write(f"{sum(map(_is_equal, judged))} of {len(judged)} equal\n".encode())
    raise typer.Exit(Exit.DONE if all(map(_is_good, judged)) else Exit.FAILED)


@isolation.command()
def matrix(
    *,
    url: Url = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table.")
    ] = False,
) -> None:
    """Run the classical anomalies at each isolation level and show which are possible."""
    if as_json + as_csv + as_markdown > 1:
        raise typer.BadParameter("choose one of --json, --csv and --markdown")
    with _facts_as_exits(), _terminated_as_exit():
        _forget_client_settings()
        with database_for_run(url, use_existing=url is not None) as database:
            found = run_matrix(database)
    if as_json:
        _write(matrix_as_json(found).encode())
    elif as_csv:
        _write(matrix_as_csv(found).encode())
    elif as_markdown:
        _write(matrix_as_markdown(found).encode())
    else:
        Console().print(matrix_as_table(found))


@dataclass(frozen=True, slots=True)
class Judged:
    """A run and, when there was a folder of expected files, how it compares with them."""

    outcome: Outcome
    comparison: Comparison | None

    @property
    def verdict(self) -> str:
        """What the summary says of it in a word or two."""
        if self.comparison is None:
            return "ran" if self.outcome.problem is None else "ended early"
        if self.comparison.equal_to is not None:
            return "equal"
        return "different" if self.comparison.diff else "no file"

    @property
    def missing(self) -> str | None:
        """What the server would need for an equal output, as far as its errors say so."""
        return None if self.verdict == "equal" else missing_part(self.outcome.output)


def _judge(outcome: Outcome, expected: Path | None) -> Judged:
    if expected is None:
        return Judged(outcome, None)
    return Judged(outcome, compare(outcome.file.name, outcome.output, expected))


def _is_equal(judged: Judged) -> bool:
    return judged.verdict == "equal"


def _is_good(judged: Judged) -> bool:
    """An expected file may show a run that ends early; without one that is a failure."""
    return judged.verdict in {"ran", "equal"}


def _keep(outcome: Outcome, folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{outcome.file.name}.out").write_bytes(outcome.output)
    except OSError as error:
        raise UnusableFile(f"cannot write {error.filename}: {error.strerror}") from error


def _print_comparison(judged: Judged) -> None:
    outcome, comparison = judged.outcome, judged.comparison
    line = f"{judged.verdict:<10} {outcome.file.name}  {outcome.seconds:.2f} s"
    if comparison and comparison.equal_to not in {None, f"{outcome.file.name}.out"}:
        line += f"  (to {comparison.equal_to})"
    if outcome.problem is not None:
        line += f"  (ended early: {outcome.problem.splitlines()[0]})"
    elif judged.missing is not None:
        line += f"  (the server lacks {judged.missing})"
    diff = comparison.diff if comparison else ""
    _write(f"{line}\n{diff}".encode("utf-8", "backslashreplace"))


def _summary(judged: list[Judged]) -> dict[str, Any]:
    return {
        "equal": sum(map(_is_equal, judged)),
        "total": len(judged),
        "specs": list(map(_entry, judged)),
    }


def _entry(judged: Judged) -> dict[str, Any]:
    outcome, comparison = judged.outcome, judged.comparison
    return {
        "name": outcome.file.name,
        "path": str(outcome.file.path),
        "verdict": judged.verdict,
        "equal_to": comparison and comparison.equal_to,
        "diff": comparison and comparison.diff,
        "problem": outcome.problem,
        "missing": judged.missing,
        "seconds": round(outcome.seconds, 3),
        "output": outcome.output.decode("utf-8", "backslashreplace"),
    }


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _setting(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"--setting takes NAME=VALUE, not {written!r}")
    return name, value


def _ignore(_: bytes) -> None:
    return None


def _step_seconds(given: float | None) -> float:
    """Return the option, or what PostgreSQL's own tester takes from its environment variable."""
    if given is not None:
        return given
    default = os.environ.get("PG_TEST_TIMEOUT_DEFAULT", "")
    return 2.0 * int(default) if default.isdecimal() else STEP_SECONDS


def _forget_client_settings() -> None:
    """Remove variables with which libpq would override the settings of a test's connections."""
    for name in ("PGTZ", "PGDATESTYLE", "PGCLIENTENCODING", "PGOPTIONS"):
        os.environ.pop(name, None)


@contextlib.contextmanager
def _facts_as_exits() -> Iterator[None]:
    """Print an error in one line and leave with its code."""
    try:
        yield
    except (SpecError, UnusableFile) as error:
        _fail(str(error), Exit.MALFORMED)
    except RunAborted as error:
        _fail(str(error), Exit.FAILED)
    except IsolationError as error:
        _fail(str(error), Exit.NO_SERVER)
    except KeyboardInterrupt:
        _fail("interrupted; nothing of the run was left behind", Exit.INTERRUPTED)


def _fail(text: str, code: Exit) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code) from None


@contextlib.contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that servers and sessions go too."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
