"""Ctrl-C at any moment, once or again and again: code 130, one sentence, no traceback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from support.commands import Commands

SENTENCE = "Interrupted; nothing is half done, run it again to go on.\n"

# Whoever runs the tests in the background may have taught their children to ignore Ctrl-C.
MAIN = """
import signal
from claimwright.cli.app import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""

# Some modules catch whatever happens while they are loaded.
SLOW_TO_LOAD = """
import sys

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "sqlalchemy":
            print("loading", flush=True)
            try:
                sys.stdin.readline()
            except BaseException:
                print("caught", flush=True)

sys.meta_path.insert(0, Slow())
"""

SLOW_TO_LEAVE = """
import asyncio, sys
from claimwright.cli.commands import app
from claimwright.cli.running import run

async def operation(runtime):
    print("running", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaning up", flush=True)
        if "thorough" in sys.argv:
            await asyncio.Event().wait()

def leave():
    try:
        run(operation)
    finally:
        print("leaving", flush=True)
        if "thorough" in sys.argv:
            sys.stdin.readline()

app.command("leave")(leave)
app.command("thorough")(leave)
"""

SLOW_TO_END = """
import atexit, sys

def end():
    print("ending", flush=True)
    sys.stdin.readline()

atexit.register(end)
"""

SLOW_TO_TELL = """
class Slow:
    def write(self, text):
        print("telling", flush=True)
        sys.stdin.readline()

    def flush(self):
        pass

sys.stderr = Slow()
"""


class Program:
    """A process of the command line that says how far it is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def says(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n", self.ended()

    def is_interrupted(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def warns(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.readline()

    def ended(self) -> tuple[int, str, str]:
        """Its exit code and the rest of both streams; it waits for no more input."""
        out, err = self._process.communicate()
        return self._process.returncode, out, err


@contextmanager
def program(source: str, *arguments: str) -> Iterator[Program]:
    with subprocess.Popen(
        [sys.executable, "-c", source + MAIN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def test_ctrl_c_while_the_commands_are_loaded_ends_at_once() -> None:
    with program(SLOW_TO_LOAD, "verify") as one:
        one.says("loading")
        one.is_interrupted()
        assert one.ended() == (130, "", SENTENCE)


def test_ctrl_c_while_the_commands_are_loaded_is_a_document_too() -> None:
    with program(SLOW_TO_LOAD, "verify", "--json") as one:
        one.says("loading")
        one.is_interrupted()
        code, out, err = one.ended()
    assert (code, err) == (130, SENTENCE)
    assert json.loads(out)["error"]["kind"] == "interrupted"


@pytest.mark.usefixtures("command")
def test_each_further_ctrl_c_ends_one_more_step_of_cleaning_up() -> None:
    with program(SLOW_TO_LEAVE, "thorough") as one:
        for step in ("running", "cleaning up", "leaving"):
            one.says(step)
            one.is_interrupted()
        assert one.ended() == (130, "", SENTENCE)


@pytest.mark.usefixtures("command")
def test_ctrl_c_while_the_last_one_is_told_ends_at_once() -> None:
    with program(SLOW_TO_LEAVE + SLOW_TO_TELL, "leave") as one:
        one.says("running")
        one.is_interrupted()
        for step in ("cleaning up", "leaving", "telling"):
            one.says(step)
        one.is_interrupted()
        assert one.ended() == (130, "", SENTENCE)


@pytest.mark.usefixtures("command")
@pytest.mark.parametrize("arguments", [("products", "list", "--json"), ("products", "show", "x")])
def test_ctrl_c_after_a_command_changes_nothing(arguments: tuple[str, ...]) -> None:
    with program(SLOW_TO_END, *arguments) as one:
        if arguments[1] == "list":
            one.says("[]")
        one.says("ending")
        one.is_interrupted()
        code, _, err = one.ended()
    assert code == (0 if arguments[1] == "list" else 3)
    assert "Traceback" not in err


def test_a_second_ctrl_c_waits_for_embedded_servers_to_be_stopped(
    embedded: Commands,  # noqa: ARG001 - whose environment the program has
) -> None:
    folder = Path(os.environ["CLAIMWRIGHT_DATA_FOLDER"])
    with program(SLOW_TO_LEAVE, "leave") as one:
        one.says("running")
        with (folder / "turn.lock").open("w") as held:
            flock(held, LOCK_EX)  # so that the servers cannot be stopped yet
            one.is_interrupted()
            one.says("cleaning up")
            while not opened_by(one.pid, folder / "turn.lock"):
                pass
            one.is_interrupted()
            assert one.warns() == f"Embedded servers; data in {folder}\n"
            assert one.warns() == "The embedded servers are being stopped.\n"
        assert one.ended() == (130, "leaving\n", SENTENCE)
    assert not list(folder.glob("**/postmaster.pid"))


def opened_by(pid: int, file: Path) -> bool:
    """Whether a process has a file open, which it does while it waits for its lock."""
    descriptors = Path(f"/proc/{pid}/fd")
    return any(os.path.realpath(descriptor) == str(file) for descriptor in descriptors.iterdir())
