"""However the demo ends, its servers stop and its temporary folder goes."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.demo import demo_process, new_folder

GONE_SECONDS = 60


@contextmanager
def racing_demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A demo in the middle of its race, with the second process."""
    arguments = ["--policies", "600", "--output", str(folder / "output")]
    with demo_process(*arguments, temporary=folder) as process:
        yield process, rival_of(process)


def rival_of(process: subprocess.Popen[str]) -> psutil.Process:
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children():
            if "claimwright.demo.rival" in words_of(child):
                return child
        os.sched_yield()
    raise LookupError("the demo has no second process")


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that ended and that its new parent has not collected does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words_of(process: psutil.Process) -> list[str]:
    """The command and the environment of a process; nothing of one that has ended."""
    try:
        return [*process.cmdline(), *process.environ().values()]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def users_of(folder: Path) -> list[list[str]]:
    """Processes whose command or environment names the folder."""
    commands = [words_of(process) for process in psutil.process_iter()]
    return [words for words in commands if any(str(folder) in word for word in words)]


def what_is_left(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("claimwright-*") if path.is_dir()]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_signal_in_the_middle_of_the_race_leaves_nothing_running(
    number: signal.Signals, status: int
) -> None:
    with new_folder() as folder:
        with racing_demo(folder) as (process, rival):
            assert what_is_left(folder) != []
            assert is_alive(rival)
            process.send_signal(number)
            process.communicate(timeout=GONE_SECONDS)
        assert process.returncode == status
        assert not is_alive(rival)
        assert (users_of(folder), what_is_left(folder)) == ([], [])


def test_a_second_process_that_dies_is_an_error_and_leaves_nothing_running() -> None:
    with new_folder() as folder:
        with racing_demo(folder) as (process, rival):
            rival.kill()
            _, messages = process.communicate(timeout=GONE_SECONDS)
        assert process.returncode == 5
        assert "second process" in messages
        assert (users_of(folder), what_is_left(folder)) == ([], [])
