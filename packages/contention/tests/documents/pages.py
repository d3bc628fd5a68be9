"""Pages as a reader follows them: files that they show, and commands with what is printed."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from contention.model.schedules import Schedule
from contention.wire.servers import Servers

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\S+\.(?:py|ini))\n")
TOKEN = re.compile(r"(?P<before>replay:? )(?P<token>c1[\w-]+)")


class File(NamedTuple):
    """A block that begins with its file's name in a comment."""

    name: str
    text: str


class Change(NamedTuple):
    """A block that says which lines of a file become which."""

    name: str
    before: str
    after: str

    @classmethod
    def of(cls, text: str) -> "Change":
        """The change of a block: its file's name, and lines that begin with a sign or a blank."""
        name, *lines = text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        return cls(name.removeprefix("--- ").strip(), before, after)


class Command(NamedTuple):
    """A line behind ``$``, and the lines below it."""

    line: str
    shown: tuple[str, ...]


def parts(page: str) -> Iterator[File | Change | Command]:
    """The page's files, changes and commands, in its order."""
    for language, text in BLOCK.findall(page):
        if named := NAME.match(text):
            yield File(named[1], text)
        elif language == "diff":
            yield Change.of(text)
        elif language == "console":
            for block in text.removeprefix("$ ").split("\n$ "):
                line, *shown = block.splitlines()
                yield Command(line, tuple(shown))


def follow(page: str, folder: Path, servers: Servers) -> int:
    """Do what the page says in a folder, and check what it shows; how many commands it has."""
    commands = 0
    for part in parts(page):
        if isinstance(part, File):
            (folder / part.name).write_text(part.text, encoding="utf-8")
        elif isinstance(part, Change):
            change(folder / part.name, part)
        else:
            printed = printed_by(part.line, folder, servers)
            assert is_shown(part.shown, printed), "\n".join([f"$ {part.line}", *printed])
            commands += 1
    return commands


def change(file: Path, part: Change) -> None:
    """Change a file in the one place that a page means."""
    text = file.read_text(encoding="utf-8")
    assert text.count(part.before) == 1, f"{part.before!r} is not once in {file.name}"
    file.write_text(text.replace(part.before, part.after), encoding="utf-8")


def printed_by(line: str, folder: Path, servers: Servers) -> list[str]:
    """What a shell prints; pytest is spared the start of servers by those at hand."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = [
        *("-p", "no:cacheprovider"),
        f"--contention-postgres={servers.postgres.url}",
        f"--contention-redis={servers.redis.url}",
    ]
    own = {
        "COLUMNS": "100",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTEST_ADDOPTS": shlex.join(options),
        # A file that was changed within the second is read again.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["/bin/bash", "-c", line],
        cwd=folder,
        env=outer | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


def is_shown(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether that was printed; ``…`` alone stands for any lines, within a line for any words."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in compared(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in compared(printed))) is not None


def compared(lines: tuple[str, ...] | list[str]) -> list[str]:
    """The lines without blank ones, tokens as this machine's compression writes them."""
    said = [line.rstrip() for line in lines if line.strip() not in {"", "E"}]
    return [
        TOKEN.sub(lambda found: found["before"] + written_anew(found["token"]), line)
        for line in said
    ]


def written_anew(token: str) -> str:
    return Schedule.from_token(token).token()
