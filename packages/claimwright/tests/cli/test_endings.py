"""How commands end when something is wrong: a code of its own for each way, and one sentence."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from claimwright.embedded import ServerAddresses
from support.commands import Commands
from support.databases import plain_connections
from support.ordering import wait_until_blocked_by

# Whoever runs the tests in the background may have taught their children to ignore Ctrl-C.
PROGRAM = """
import signal
from claimwright.cli.app import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.mark.usefixtures("command")
async def test_ctrl_c_says_that_nothing_is_half_done(fresh_database: ServerAddresses) -> None:
    async with plain_connections(fresh_database) as connections:
        owner, watcher = await connections.owner(), await connections.superuser()
        await owner.execute("BEGIN; LOCK TABLE readings")
        arguments = [sys.executable, "-c", PROGRAM, "calculate"]
        program = await asyncio.create_subprocess_exec(*arguments, stderr=subprocess.PIPE)
        await wait_until_blocked_by(watcher, owner.get_server_pid())
        program.send_signal(signal.SIGINT)
        _, messages = await program.communicate()
    assert program.returncode == 130
    assert b"Interrupted; nothing is half done, run it again to go on." in messages
    assert b"Traceback" not in messages


@pytest.mark.usefixtures("command")
async def test_a_lock_that_does_not_come_in_time_is_unfinished_work(
    fresh_database: ServerAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAIMWRIGHT_LOCK_TIMEOUT_MS", "20")
    async with plain_connections(fresh_database) as connections:
        owner = await connections.owner()
        await owner.execute("BEGIN; LOCK TABLE policies")
        arguments = [sys.executable, "-c", PROGRAM, "policies", "list"]
        program = await asyncio.create_subprocess_exec(*arguments, stderr=subprocess.PIPE)
        _, messages = await program.communicate()
    assert program.returncode == 5
    assert b"PostgreSQL gave up waiting (55P03" in messages
    assert b"Traceback" not in messages


def test_a_defect_is_not_taken_for_a_difference(
    command: Commands, fresh_database: ServerAddresses
) -> None:
    asyncio.run(_rename_policies(fresh_database))
    found = command("verify")
    assert (found.code, found.out) == (70, "")
    assert "UndefinedTableError" in found.err


@pytest.mark.parametrize("verb", ["verify", "calculate"])
@pytest.mark.parametrize(("option", "noun"), [("--product", "product"), ("--region", "region")])
def test_a_misspelt_name_is_not_found_instead_of_clean(
    command: Commands, examples: Path, verb: str, option: str, noun: str
) -> None:
    command("products", "add", examples / "nyc-rain.toml")
    found = command(verb, option, "nyc-rian")
    assert (found.code, found.out) == (3, "")
    assert f"there is no {noun} nyc-rian" in found.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("calculate", "--from", "0001-01-01", "--to", "9999-12-31"), "is outside 1800-01-01"),
        (("readings", "list", "--after", 2**64), "Invalid value for '--after'"),
        (("readings", "list", "--zone", "Mars/Phobos"), "'Mars/Phobos' is not an IANA time zone"),
        (("policies", "list", "--region", "a\0b"), "PostgreSQL cannot hold a value"),
        (("policies", "list", "--region", "a\udcffb"), "PostgreSQL cannot hold a value"),
    ],
)
def test_values_that_cannot_be_are_invalid_input(
    command: Commands, arguments: tuple[object, ...], sentence: str
) -> None:
    found = command(*arguments)
    assert (found.code, found.out) == (2, "")
    assert sentence in found.err
    assert "Traceback" not in found.err


def test_a_narrow_table_breaks_no_number_and_no_date(command: Commands, examples: Path) -> None:
    command("products", "add", examples / "nyc-rain.toml")
    command("products", "add", examples / "nyc-wind.toml")
    command("policies", "import", examples / "policies.csv")
    command.on_a_terminal_of(80)
    table = command("policies", "list").out
    for whole in ("100000.00", "25000.50", "1000000", "2013-01-01", "2013-12-31"):
        assert whole in table


async def _rename_policies(addresses: ServerAddresses) -> None:
    async with plain_connections(addresses) as connections:
        owner = await connections.owner()
        await owner.execute("ALTER TABLE policies RENAME TO policies_of_another_version")
