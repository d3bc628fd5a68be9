"""`claimwright init`, and what every command says of the embedded servers before anything else."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from claimwright.settings import running_as_root
from support.commands import Commands


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


def test_on_servers_of_your_own_a_second_call_changes_nothing(command: Commands) -> None:
    first = command.json("init")
    assert first == command.json("init") == {"revision": first["revision"], "folder": None}
    assert command("init").err == ""


def test_the_folder_of_embedded_servers_is_said_first_and_not_among_the_results(
    embedded: Commands,
) -> None:
    made = embedded("init", "--json")
    folder = made.document["folder"]
    assert made.err == f"Embedded servers; data in {folder}\n"
    for arguments in (("doctor",), ("products", "list")):
        assert embedded(*arguments, "--json").err == made.err
