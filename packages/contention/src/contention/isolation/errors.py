"""What can end a run of isolation tests before its verdict."""

from pathlib import Path


class IsolationError(Exception):
    """The root of this room's errors; the text says what to do."""


class SpecError(IsolationError):
    """A spec that cannot be run as written.

    Attributes:
        problem: what is wrong.
        line: where, counted from 1.
        file: in which file, when it came from one.
    """

    def __init__(self, problem: str, line: int, file: Path | None = None) -> None:
        super().__init__(problem, line, file)
        self.problem = problem
        self.line = line
        self.file = file

    def __str__(self) -> str:
        where = f"line {self.line}" if self.file is None else f"{self.file}:{self.line}"
        return f"{where}: {self.problem}"


class UnusableFile(IsolationError):  # noqa: N818 - named for what it is about
    """A file or folder that cannot be read or written."""


class ServerError(IsolationError):
    """The server cannot be reached, or lacks or refuses what a run needs."""


class RunAborted(IsolationError):  # noqa: N818 - it ends one spec, as the tester's exit(1) does
    """A spec ended early; what it says was already reported in the transcript."""
