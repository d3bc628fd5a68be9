"""`claimwright init`, and what every command says of the embedded servers before anything else."""

import os
from pathlib import Path

import pytest

from claimwright.embedded import ServerAddresses, create_database, drop_database
from support.commands import Commands


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


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [
        ("user=nobody", 4, 'role "nobody" does not exist'),
        ("dbname=nothing", 4, 'database "nothing" does not exist'),
        ("sslmode=verify-full", 2, "root certificate file"),
    ],
)
def test_an_address_that_does_not_lead_to_a_database_has_one_sentence(
    command: Commands, monkeypatch: pytest.MonkeyPatch, option: str, code: int, words: str
) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    monkeypatch.setenv("HOME", str(Path.cwd()))  # where the driver looks for certificates
    for name in ("CLAIMWRIGHT_DATABASE_URL", "CLAIMWRIGHT_OWNER_DATABASE_URL"):
        monkeypatch.setenv(name, f"{os.environ[name]}&{option}")
    for arguments in (("init",), ("products", "list")):
        found = command(*arguments)
        assert (found.code, found.out) == (code, "")
        assert words in found.err
        assert "Traceback" not in found.err


def test_the_applications_role_may_not_create_the_schema(
    command: Commands, monkeypatch: pytest.MonkeyPatch, servers: ServerAddresses
) -> None:
    empty = create_database(servers, "without_schema")
    monkeypatch.setenv("CLAIMWRIGHT_DATABASE_URL", empty.database_url)
    monkeypatch.delenv("CLAIMWRIGHT_OWNER_DATABASE_URL")
    found = command("init")
    drop_database(servers, "without_schema")
    assert found.code == 4
    assert "42501: permission denied for schema public" in found.err
    assert "Traceback" not in found.err
