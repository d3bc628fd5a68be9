"""The command line as people use it: arguments in; exit code, output and messages back."""

import json
import signal
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from claimwright.cli.app import main
from claimwright.cli.output import messages, results


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Standard output, read as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs `claimwright` in this process, on the servers that the environment names."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Finished:
        """Run one command to its end."""
        self.monkeypatch.setattr(sys, "argv", ["claimwright", *map(str, arguments)])
        self.capsys.readouterr()
        code = 0
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            # A command ignores Ctrl-C once it is over; whoever runs the tests may still press it.
            signal.signal(signal.SIGINT, on_interrupt)
        written = self.capsys.readouterr()
        return Finished(code, written.out, written.err)

    def on_a_terminal_of(self, columns: int) -> None:
        """Print on so many columns from now on, however wide the terminal of the tests is."""
        # The consoles keep the width that COLUMNS had when they were made; Typer's reads it anew.
        self.monkeypatch.setenv("COLUMNS", str(columns))
        for console in (results, messages):
            self.monkeypatch.setattr(console, "width", columns)

    def json(self, *arguments: object, code: int = 0) -> Any:  # noqa: ANN401 - whatever JSON holds
        """What a command prints with ``--json``; it has to end with that code."""
        finished = self(*arguments, "--json")
        assert finished.code == code, finished
        return finished.document
