"""Programs of this package as other processes: started, heard, signalled, never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from typing import Final

import psutil

PATIENCE_SECONDS: Final = 60
"""Only a test that fails waits this long."""
_MAIN: Final = "from claimwright.cli.app import main; main()"


class Program:
    """A running command; what it writes on both streams is kept, line by line."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything it has written so far."""
        with self._news:
            return "".join(self.lines)

    def saw(self, text: str, *, times: int = 1) -> None:
        """Return once it has written so many lines with this text.

        Raises:
            TimeoutError: it never did; the message has what it wrote.
        """

        def is_there() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._news:
            self._news.wait_for(lambda: is_there() or not self._reader.is_alive(), PATIENCE_SECONDS)
            if not is_there():
                raise TimeoutError(f"no {text!r} in:\n{''.join(self.lines)}")

    async def heard(self, text: str, *, times: int = 1) -> None:
        """As `saw`, while the loop goes on."""
        await asyncio.to_thread(self.saw, text, times=times)

    def children(self) -> list[psutil.Process]:
        """The processes it has started itself."""
        return psutil.Process(self.process.pid).children()

    def signal(self, number: int) -> None:
        """Send it a signal, and its children none."""
        self.process.send_signal(number)

    def kill_all(self) -> None:
        """End it and all its children at once, as a machine that loses its power."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()


@contextmanager
def running(command: list[str], environment: Mapping[str, str]) -> Iterator[Program]:
    """A program while the block runs; killed at its end if it still runs."""
    program = Program(command, environment)
    try:
        yield program
    finally:
        program.kill_all()


def claimwright_command(*arguments: str) -> list[str]:
    """The words that start `claimwright` in another process."""
    return [sys.executable, "-c", _MAIN, *arguments]


def program(text: str, *arguments: object) -> list[str]:
    """The words that run this Python in another process."""
    return [sys.executable, "-c", text, *map(str, arguments)]
