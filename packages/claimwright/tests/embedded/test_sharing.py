"""Processes come and go: who starts the embedded servers, who shares them, when they stop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from claimwright.embedded import embedded_servers
from support.server_processes import (
    GONE_SECONDS,
    USER_PROGRAM,
    are_gone,
    are_running,
    begun_user_process,
    child_process,
    command_lines,
    first_line,
    leave,
    new_folder,
    ping,
    server_processes,
    sql,
    user_process,
)

if TYPE_CHECKING:
    import psutil

FORKING_USER_PROGRAM = """
import os, sys
from pathlib import Path
from typing import TYPE_CHECKING
from claimwright.embedded import embedded_servers

with embedded_servers(Path(sys.argv[1])):
    if (child := os.fork()) == 0:
        raise SystemExit
    os.waitpid(child, 0)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One folder for all tests of coming and going, in which no server runs between tests."""
    with new_folder() as one:
        yield one


@pytest.fixture(autouse=True)
def no_server_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves servers running in the shared folder."""
    yield
    if "folder" in request.fixturenames:
        shared: Path = request.getfixturevalue("folder")
        assert not (shared / "postgres" / "postmaster.pid").exists()
        assert not (shared / "valkey" / "valkey.pid").exists()


async def test_processes_share_the_servers_which_outlive_the_one_that_started_them(
    folder: Path,
) -> None:
    with user_process(folder) as first:
        running = server_processes(folder)
        with embedded_servers(folder) as addresses:
            assert server_processes(folder) == running
            assert leave(first) == 0
            assert are_running(running)
            assert await ping(addresses.redis_url)
            assert await sql(addresses.database_url, "SELECT 1") == [(1,)]
    assert are_gone(running)


def test_processes_that_start_at_once_get_the_same_servers(folder: Path) -> None:
    with (
        begun_user_process(folder, USER_PROGRAM) as first,
        begun_user_process(folder, USER_PROGRAM) as second,
    ):
        assert first_line(first) == first_line(second) == "ready"
        running = server_processes(folder)
        assert leave(first) == 0
        assert are_running(running)
        assert leave(second) == 0
    assert are_gone(running)


def test_a_user_that_was_killed_does_not_count(folder: Path) -> None:
    with user_process(folder) as victim:
        running = server_processes(folder)
        victim.kill()
        victim.wait(GONE_SECONDS)
    with embedded_servers(folder):
        assert server_processes(folder) == running
    assert are_gone(running)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, -signal.SIGINT),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
    ],
)
def test_a_signal_that_ends_the_last_user_stops_the_servers(
    folder: Path, number: signal.Signals, status: int
) -> None:
    with user_process(folder) as user:
        running = server_processes(folder)
        os.killpg(user.pid, number)
        assert user.wait(GONE_SECONDS) == status
        assert are_gone(running)


def test_ctrl_c_while_the_servers_start_lets_them_start_and_stops_them() -> None:
    with new_folder() as fresh:
        with begun_user_process(fresh, USER_PROGRAM) as user:
            child_process(user, "initdb")
            os.killpg(user.pid, signal.SIGINT)
            assert user.wait(GONE_SECONDS) == -signal.SIGINT
            assert first_line(user) == ""
        assert (fresh / "valkey" / "valkey.log").exists()
        assert not any(str(fresh) in " ".join(words) for words in command_lines())


def test_ctrl_c_in_the_terminal_that_started_the_servers_leaves_them_to_other_users(
    folder: Path,
) -> None:
    with user_process(folder) as first, embedded_servers(folder):
        running = server_processes(folder)
        os.killpg(first.pid, signal.SIGINT)
        first.wait(GONE_SECONDS)
        assert are_running(running)
    assert are_gone(running)


def test_an_error_in_the_body_stops_the_servers(folder: Path) -> None:
    running: list[psutil.Process] = []

    def fail() -> None:
        with embedded_servers(folder):
            running.extend(server_processes(folder))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert len(running) == 2
    assert are_gone(running)


def test_a_forked_child_that_leaves_does_not_stop_the_servers_of_its_parent(folder: Path) -> None:
    with user_process(folder, FORKING_USER_PROGRAM) as parent:
        running = server_processes(folder)
        assert are_running(running)
        assert leave(parent) == 0
        assert are_gone(running)


def test_two_uses_of_one_process_count_as_two(folder: Path) -> None:
    with embedded_servers(folder):
        with embedded_servers(folder):
            running = server_processes(folder)
        assert are_running(running)
    assert are_gone(running)


async def test_a_server_that_crashed_is_started_for_the_next_user(folder: Path) -> None:
    with user_process(folder):
        crashed = server_processes(folder)
        for process in crashed:
            process.kill()
        assert are_gone(crashed)
        with embedded_servers(folder) as addresses:
            assert await ping(addresses.redis_url)
            assert await sql(addresses.database_url, "SELECT 1") == [(1,)]


@pytest.mark.prove
async def test_a_valkey_that_hangs_is_replaced(folder: Path) -> None:
    with user_process(folder):
        _, hanging = server_processes(folder)
        hanging.suspend()
        with embedded_servers(folder) as addresses:
            assert await ping(addresses.redis_url)
            assert are_gone([hanging])
