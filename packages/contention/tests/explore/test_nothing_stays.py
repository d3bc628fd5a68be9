"""Threads, processes, sockets and folders are gone after an error and after Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from contention.explore import explore
from contention.model.steps import Effect
from contention.wire.servers import Servers
from contention.wire.workers import process

from . import worker_programs as programs
from .programs import accounts_hold, two_accounts

PROGRAM = Path(__file__).with_name("interrupted.py")
PATIENCE_SECONDS = 60


def until(holds: Callable[[], bool]) -> None:
    """Look again and again at what no event tells of, as in another process."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < ends_at, "it never came"
        time.sleep(0.01)


def is_gone(process_id: int) -> bool:
    """Whether a process has ended, even if nobody has collected it yet."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.rpartition(")")[2].split()[0] == "Z"


def test_ctrl_c_ends_every_worker(servers: Servers, tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), servers.postgres.url, servers.redis.url, str(told)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(told.exists)
        child = int(told.read_text())
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=PATIENCE_SECONDS)
    finally:
        program.kill()
        program.wait()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert is_gone(child)
    assert not list(tmp_path.glob("ct-*"))


class Broken:
    """A scheduler with a fault."""

    is_complete = False
    cut_reason = ""

    def start(self) -> bool:
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        return options[0]

    def executed(self, effect: Effect) -> None:
        raise ZeroDivisionError


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number counts


async def test_an_error_of_the_kit_ends_every_worker(servers: Servers) -> None:
    workers = (programs.add_one, process(programs.add_one))

    async def fail() -> None:
        with pytest.raises(ZeroDivisionError):
            await explore(
                *workers,
                setup=two_accounts,
                invariant=accounts_hold(0),
                servers=servers,
                scheduler=Broken(),
            )

    await fail()
    before, open_before = set(threading.enumerate()), descriptors()
    await fail()
    assert set(threading.enumerate()) <= before
    assert descriptors() <= open_before
    assert not children()


def children() -> list[int]:
    """Processes of Python that this one has started and that still run."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"workers_runner" in command and not is_gone(pid):
                found.append(pid)
    return found
