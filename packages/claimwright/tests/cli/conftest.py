"""What tests of commands share: a database of their own and a folder to work in."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from claimwright.embedded import ServerAddresses
from claimwright.settings import running_as_root
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
def embedded(command: Commands, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """`claimwright` without an address: on embedded servers in a new folder."""
    folder = Path(tempfile.mkdtemp(prefix="claimwright-test-")).resolve()
    if running_as_root():
        folder.chmod(0o711)  # the servers' account has to pass
    for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(f"CLAIMWRIGHT_{name}")
    monkeypatch.setenv("CLAIMWRIGHT_DATA_FOLDER", str(folder))
    yield command
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def examples() -> Path:
    """The folder of the repository's examples."""
    return EXAMPLES
