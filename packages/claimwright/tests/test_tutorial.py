"""The tutorial's commands run as they stand there, in its order, and print what it says."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from claimwright.demo.inputs import weather_file
from claimwright.embedded import embedded_servers
from support.server_processes import new_folder

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial"
PAGE = (TUTORIAL / "README.md").read_text(encoding="utf-8")
READERS_FOLDER = "/var/tmp/claimwright-tutorial"  # noqa: S108 - the page's, replaced by our own
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAYS_WHERE = "Embedded servers; data in "
COUNTS_OF_THE_RACE = """grep -h '"claims"' one.json two.json"""


class Shown(NamedTuple):
    """A command on the page, and the lines under it."""

    command: str
    lines: tuple[str, ...]


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE) if found == language]


def shown() -> Iterator[Shown]:
    for block in blocks("console"):
        for text in block.removeprefix("$ ").split("\n$ "):
            command, *lines = text.strip().split("\n")
            yield Shown(command, tuple(lines))


def printed_by(command: str, folder: Path) -> list[str]:
    """What a reader's shell shows, blank lines apart; the folder goes by the page's name."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CLAIMWRIGHT_")
    }
    environment |= {
        "CLAIMWRIGHT_DATA_FOLDER": str(folder / "data"),
        "COLUMNS": "110",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    done = subprocess.run(
        ["/bin/bash", "-c", command.replace(READERS_FOLDER, str(folder))],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output = done.stdout.replace(str(folder), READERS_FOLDER)
    return [line.rstrip() for line in output.splitlines() if line.strip()]


def matches(lines: tuple[str, ...], printed: list[str]) -> bool:
    """Whether that was printed; ``…`` alone stands for any lines, within a line for any words."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in lines
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def assert_shown(step: Shown, printed: list[str]) -> None:
    if step.command == COUNTS_OF_THE_RACE:
        assert sum_of_numbers(printed) == sum_of_numbers(step.lines), printed
        return
    if not any(line.startswith(SAYS_WHERE) for line in step.lines):
        printed = [line for line in printed if not line.startswith(SAYS_WHERE)]
    assert matches(step.lines, printed), "\n".join([f"$ {step.command}", *printed])


def sum_of_numbers(lines: tuple[str, ...] | list[str]) -> int:
    assert len(lines) == 2
    return sum(int(number) for line in lines for number in re.findall(r"\d+", line))


def test_every_command_of_the_tutorial_prints_what_the_page_says() -> None:
    *steps, last = shown()
    assert last.command == f"rm -r {READERS_FOLDER}"
    with new_folder() as parent:
        folder = parent / "tutorial"
        shutil.copytree(TUTORIAL, folder)
        # One use of the servers around all commands: they need not start them every time.
        with embedded_servers(folder / "data"):
            for step in steps:
                assert_shown(step, printed_by(step.command, folder))
        assert_shown(last, printed_by(f"cd .. && {last.command}", folder))
        assert not folder.exists()


def test_the_preparation_is_what_the_test_of_the_commands_assumes() -> None:
    (preparation,) = blocks("sh")
    assert preparation.splitlines() == [
        "make setup && source .venv/bin/activate",
        f"cp -r docs/tutorial {READERS_FOLDER} && cd {READERS_FOLDER}",
        f"export CLAIMWRIGHT_DATA_FOLDER={READERS_FOLDER}/data",
    ]


@pytest.mark.parametrize("name", ["rain.toml", "readings.toml", "policies.csv"])
def test_a_file_that_the_page_shows_is_the_one_beside_it(name: str) -> None:
    assert (TUTORIAL / name).read_text(encoding="utf-8") in blocks(name.rpartition(".")[2])


@pytest.mark.parametrize(
    ("name", "first", "end"),
    [
        ("first-week.csv", "2013-06-01T04", "2013-06-08T04"),
        ("second-week.csv", "2013-06-08T04", "2013-06-15T04"),
    ],
)
def test_the_rain_of_the_tutorial_is_that_of_the_weather_package(
    name: str, first: str, end: str
) -> None:
    with weather_file().open(encoding="utf-8") as source:
        measured = {
            (row["origin"], row["time_hour"], row["precip"])
            for row in csv.DictReader(source)
            if first <= row["time_hour"] < end
        }
    with (TUTORIAL / name).open(encoding="utf-8") as extract:
        rows = [(row["station"], row["time"], row["rain"]) for row in csv.DictReader(extract)]
    assert (set(rows), len(rows)) == (measured, 504)


@pytest.mark.parametrize(
    ("printed", "is_shown"),
    [
        (["a 1", "b", "c", "z"], True),
        (["a 2", "z"], True),
        (["a 1", "b"], False),
        (["b", "a 1", "z"], False),
    ],
)
def test_an_ellipsis_stands_for_words_or_lines_and_nothing_else_is_forgiven(
    printed: list[str],
    is_shown: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    assert matches(("a …", "…", "z"), printed) is is_shown
