"""`claimwright doctor`: healthy servers pass, others have exit code 4 and no traceback."""

import pytest

from support.commands import Commands


def test_healthy_servers_pass(command: Commands) -> None:
    found = command("doctor")
    assert found.code == 0
    assert "PostgreSQL" in found.out
    document = command.json("doctor")
    assert document["healthy"] is True
    assert {check["health"] for check in document["checks"]} == {"ok", "warn"}


def test_servers_that_are_away_have_their_exit_code(
    command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:9/claims")
    monkeypatch.delenv("CLAIMWRIGHT_OWNER_DATABASE_URL")
    found = command("doctor")
    assert found.code == 4
    assert "hunter2" not in found.out + found.err
    document = command.json("doctor", code=4)
    assert document["healthy"] is False
