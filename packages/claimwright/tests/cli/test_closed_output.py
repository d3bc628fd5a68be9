"""Whoever read the output went away: an exit code of its own, and no words."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Commands

PROGRAM = "from claimwright.cli.app import main; main()"
LINES = (
    ("verify",),
    ("verify", "--json"),
    ("doctor",),
    ("products", "show", "nyc-rain", "--toml"),
    ("policies", "list"),
    ("claims", "export", "-"),
    ("calculate", "--from", "2013-06-01", "--to", "2013-06-02"),
    ("calculate", "--help"),
)


@pytest.fixture
def stored(command: Commands, examples: Path) -> None:
    command("products", "add", examples / "nyc-rain.toml")
    command("products", "add", examples / "nyc-wind.toml")
    assert command("policies", "import", examples / "policies.csv").code == 0


def ended(*arguments: str, errors_too: bool = False) -> tuple[int, str]:
    """The exit code and error stream of a command whose output nobody reads."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        told = "" if process.stderr is None else process.stderr.read()
        return process.wait(), told.strip()


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_a_closed_output_is_no_difference_and_no_defect(arguments: tuple[str, ...]) -> None:
    assert ended(*arguments) == (141, "")


@pytest.mark.usefixtures("stored")
def test_closed_messages_are_no_difference_either() -> None:
    assert ended("verify", "--product", "nyc-rian", errors_too=True) == (141, "")
    assert ended("verify", "--no-such-option", errors_too=True) == (141, "")


@pytest.mark.usefixtures("stored")
def test_a_failure_that_is_told_on_the_error_stream_keeps_its_code() -> None:
    code, told = ended("verify", "--product", "nyc-rian", "--json")
    assert (code, told) == (3, "Error: there is no product nyc-rian")


@pytest.mark.usefixtures("stored")
def test_what_the_command_did_stays_done(command: Commands, examples: Path) -> None:
    csv = (examples / "policies.csv").read_text("utf-8").replace("NYC-", "NEW-")
    Path("new.csv").write_text(csv, encoding="utf-8")
    assert ended("policies", "import", "new.csv") == (141, "")
    numbers = [item["policy_number"] for item in command.json("policies", "list")["items"]]
    assert len(numbers) == 6
