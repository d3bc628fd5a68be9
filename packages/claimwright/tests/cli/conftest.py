"""What tests of commands share: a database of their own and a folder to work in."""

import os
from pathlib import Path

import pytest

from claimwright.embedded import ServerAddresses
from support.commands import Commands
from support.databases import environment_of

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture
def command(
    fresh_database: ServerAddresses,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Commands:
    """`claimwright` on an empty database, in an empty folder."""
    for name in [name for name in os.environ if name.startswith("CLAIMWRIGHT_")]:
        if not name.startswith("CLAIMWRIGHT_TEST_"):
            monkeypatch.delenv(name)
    for name, value in environment_of(fresh_database).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    commands = Commands(monkeypatch, capsys)
    commands.on_a_terminal_of(200)
    return commands


@pytest.fixture
def examples() -> Path:
    """The folder of the repository's examples."""
    return EXAMPLES
