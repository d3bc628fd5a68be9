"""Servers end with the process that started them, however it ends."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STARTS_SERVERS = """
import signal
import sys

signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell does in the background
from contention.wire.embedded import embedded_servers

with embedded_servers() as servers:
    print(servers.redis.socket.parent, flush=True)
    sys.stdin.read()
"""
_MOST_SECONDS = 60


def pids_in(folder: Path) -> list[int]:
    files = (folder / "postgres" / "postmaster.pid", folder / "redis.pid")
    return [int(file.read_text().split()[0]) for file in files]


def wait_until_ended(process_id: int) -> None:
    """The system tells when a process is over, whoever its parent is."""
    descriptor = os.pidfd_open(process_id)
    try:
        ready, _, _ = select.select([descriptor], [], [], _MOST_SECONDS)
        assert ready, f"process {process_id} still runs"
    finally:
        os.close(descriptor)


def wait_until_gone(folder: Path) -> None:
    until = time.monotonic() + _MOST_SECONDS
    while folder.exists():
        assert time.monotonic() < until, f"{folder} is still there"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_of_a_process_that_is_killed_end_and_their_folder_goes(
    number: signal.Signals,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_SERVERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        servers = pids_in(folder)
        process.send_signal(number)
        for server in servers:
            wait_until_ended(server)
        wait_until_gone(folder)


def test_a_process_that_ends_by_itself_leaves_nothing_to_its_guardian() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STARTS_SERVERS],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not Path(ended.stdout.strip()).exists()
    assert ended.stderr == ""
