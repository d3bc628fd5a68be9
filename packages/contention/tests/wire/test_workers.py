"""Workers of every kind begin, end, are stopped and leave nothing behind."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from contention.wire.servers import Links
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body, Worker, WorkerFailedError, WorkerStaysError, process
from contention.wire.workers_kinds import worker_for

LINKS = Links("postgresql://nobody@/none", "unix:///none", "redis+socket:///none")


@pytest.fixture
def loop() -> Iterator[VirtualClockLoop]:
    made = VirtualClockLoop()
    yield made
    made.close()


class Watched:
    """A worker, and a way to wait for its end."""

    def __init__(self, body: Body, loop: VirtualClockLoop) -> None:
        self.ended = asyncio.Event()
        self.worker: Worker = worker_for("w1", body, loop, self.ended.set)

    async def outcome(self) -> object:
        self.worker.start(LINKS)
        await self.ended.wait()
        await self.worker.stop()
        return self.worker.outcome


def outcome_of(body: Body, loop: VirtualClockLoop) -> object:
    async def play() -> object:
        return await Watched(body, loop).outcome()

    return loop.run_until_complete(play())


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again at what no event tells of, as in another process."""
    for _ in range(4_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("contention")}


def is_running(process_id: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process_id, 0)
        return True
    return False


# --- what comes back -------------------------------------------------------------------------


def give_links(links: Links, *more: object) -> tuple[Links, tuple[object, ...]]:
    return links, more


async def give_links_later(links: Links) -> Links:
    await asyncio.sleep(0)
    return links


def fail(_links: Links) -> None:
    raise KeyError("tea")


class OddError(Exception):
    def __init__(self, item: str, number: int) -> None:
        super().__init__(f"{item} {number}")


class RewordedError(Exception):
    def __init__(self, item: str) -> None:
        super().__init__(f"there is no {item}")


def fail_in_other_words(_links: Links) -> None:
    raise RewordedError("tea")


def fail_oddly(_links: Links) -> None:
    raise OddError("tea", 3)


def give_a_lock(_links: Links) -> object:
    return threading.Lock()


def leave_at_once(_links: Links) -> None:
    os._exit(7)


@pytest.mark.parametrize("body", [give_links, process(give_links)], ids=["thread", "process"])
def test_a_function_gets_its_links_and_gives_its_value(loop: VirtualClockLoop, body: Body) -> None:
    assert outcome_of(body, loop) == (LINKS, ())


@pytest.mark.parametrize(
    "body",
    [give_links_later, partial(give_links_later), process(give_links_later)],
    ids=["task", "partial", "process"],
)
def test_an_async_function_is_awaited(loop: VirtualClockLoop, body: Body) -> None:
    assert outcome_of(body, loop) == LINKS


def test_a_process_takes_arguments_after_its_links(loop: VirtualClockLoop) -> None:
    assert outcome_of(process(give_links, 1, Path("x")), loop) == (LINKS, (1, Path("x")))


@pytest.mark.parametrize("body", [fail, process(fail)], ids=["thread", "process"])
def test_an_exception_comes_back_as_itself(loop: VirtualClockLoop, body: Body) -> None:
    error = outcome_of(body, loop)
    assert type(error) is KeyError
    assert error.args == ("tea",)


def test_an_exception_that_cannot_be_rebuilt_is_described(loop: VirtualClockLoop) -> None:
    error = outcome_of(process(fail_oddly), loop)
    assert isinstance(error, WorkerFailedError)
    assert error.described == "OddError: tea 3"
    assert error.exit_code == 1
    assert 'raise OddError("tea", 3)' in error.last_words


def test_an_exception_that_would_come_out_otherwise_is_described(loop: VirtualClockLoop) -> None:
    error = outcome_of(process(fail_in_other_words), loop)
    assert isinstance(error, WorkerFailedError)
    assert error.described == "RewordedError: there is no tea"


def test_a_value_that_cannot_be_pickled_is_an_error(loop: VirtualClockLoop) -> None:
    error = outcome_of(process(give_a_lock), loop)
    assert "cannot pickle" in str(error)


def test_a_process_that_dies_says_how(loop: VirtualClockLoop) -> None:
    error = outcome_of(process(leave_at_once), loop)
    assert isinstance(error, WorkerFailedError)
    assert error.exit_code == 7
    assert str(error) == "its process ended with 7"


def test_a_sync_function_that_returns_a_coroutine_is_told_so(loop: VirtualClockLoop) -> None:
    error = outcome_of(lambda links: give_links_later(links), loop)  # noqa: PLW0108 - what is tested
    assert isinstance(error, TypeError)
    assert "give the async function itself" in str(error)


# --- command lines ---------------------------------------------------------------------------


def test_a_command_finds_its_links_in_its_environment_and_its_words(
    loop: VirtualClockLoop, tmp_path: Path
) -> None:
    code = (
        "import os, sys; given = os.environ['A'], os.environ['CONTENTION_POSTGRES_URL']; "
        "print(*sys.argv[1:], *given, file=open('told', 'w'))"
    )
    command = process(
        [sys.executable, "-c", code, "{postgres_url}", "--broker={broker_url}"],
        environment={"A": "x {redis_url}"},
        folder=tmp_path,
    )
    assert outcome_of(command, loop) is None
    told = (tmp_path / "told").read_text().split()
    assert told[:2] == [LINKS.postgres_url, f"--broker={LINKS.broker_url}"]
    assert told[2:] == ["x", LINKS.redis_url, LINKS.postgres_url]


def test_a_command_that_fails_gives_its_last_words(loop: VirtualClockLoop) -> None:
    error = outcome_of(process([sys.executable, "-c", "raise SystemExit('no tea')"]), loop)
    assert isinstance(error, WorkerFailedError)
    assert error.exit_code == 1
    assert error.last_words == "no tea\n"


def test_a_command_that_does_not_exist_is_an_error_of_its_worker(loop: VirtualClockLoop) -> None:
    assert isinstance(outcome_of(process(["/no/such/program"]), loop), FileNotFoundError)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([], "a list of words"),
        ("python worker.py", "a list of words"),
        (lambda links: links, "cannot be found by name"),
        (partial(fail), "cannot be found by name"),
    ],
)
def test_what_no_process_can_run_is_refused_at_once(
    target: Callable[..., object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        process(target)


# --- being stopped ---------------------------------------------------------------------------


def stopped(loop: VirtualClockLoop, body: Body, begun: Callable[[], bool]) -> Worker:
    """Stop a worker as soon as it has begun."""

    async def play() -> Worker:
        watched = Watched(body, loop)
        watched.worker.start(LINKS)
        await until(begun)
        await watched.worker.stop()
        return watched.worker

    return loop.run_until_complete(play())


def test_a_task_is_cancelled(loop: VirtualClockLoop) -> None:
    begun = threading.Event()

    async def wait(_links: Links) -> None:
        begun.set()
        await asyncio.Event().wait()

    assert isinstance(stopped(loop, wait, begun.is_set).outcome, asyncio.CancelledError)


def test_a_task_that_swallows_a_cancel_is_cancelled_again(
    loop: VirtualClockLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contention.wire.workers_tasks._PATIENCE_SECONDS", 0.05)
    begun = threading.Event()

    async def wait(_links: Links) -> str:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()
        return "never"

    assert isinstance(stopped(loop, wait, begun.is_set).outcome, asyncio.CancelledError)


def test_a_task_that_cannot_be_ended_is_named(
    loop: VirtualClockLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contention.wire.workers_tasks._PATIENCE_SECONDS", 0.02)
    begun, enough = threading.Event(), asyncio.Event()

    async def wait(_links: Links) -> None:
        begun.set()
        while not enough.is_set():
            with suppress(asyncio.CancelledError):
                await enough.wait()

    with pytest.raises(WorkerStaysError, match="w1 was cancelled 5 times"):
        stopped(loop, wait, begun.is_set)
    enough.set()
    loop.run_until_complete(asyncio.sleep(0))


def test_a_thread_that_computes_is_ended(loop: VirtualClockLoop) -> None:
    begun = threading.Event()

    def compute(_links: Links) -> None:
        begun.set()
        while True:
            pass

    assert stopped(loop, compute, begun.is_set).has_ended
    assert "contention-w1" not in names_of_threads()


def test_a_thread_that_cannot_be_ended_is_named(
    loop: VirtualClockLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contention.wire.workers_threads._PATIENCE_SECONDS", 0.05)
    begun, enough = threading.Event(), threading.Event()

    def wait(_links: Links) -> None:
        begun.set()
        enough.wait()

    with pytest.raises(WorkerStaysError, match="w1 goes on in its thread"):
        stopped(loop, wait, begun.is_set)
    enough.set()
    (thread,) = [one for one in threading.enumerate() if one.name == "contention-w1"]
    thread.join()


def test_a_thread_that_a_task_sent_off_is_waited_for(loop: VirtualClockLoop) -> None:
    begun, enough, done = threading.Event(), threading.Event(), threading.Event()

    def compute() -> None:
        begun.set()
        enough.wait()
        done.set()

    async def send_off(_links: Links) -> None:
        try:
            await asyncio.to_thread(compute)
        finally:
            enough.set()

    stopped(loop, send_off, begun.is_set)
    assert done.is_set()


STUBBORN = """
import pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
pathlib.Path("child.part").write_text(str(child.pid))
pathlib.Path("child.part").rename("child")
signal.pause()
"""


def test_a_process_that_ignores_to_be_terminated_is_killed_with_all_it_started(
    loop: VirtualClockLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contention.wire.workers_processes._PATIENCE_SECONDS", 0.2)
    command = process([sys.executable, "-c", STUBBORN], folder=tmp_path)
    worker = stopped(loop, command, (tmp_path / "child").exists)
    error = worker.outcome
    assert isinstance(error, WorkerFailedError)
    assert error.exit_code == -signal.SIGKILL
    child = int((tmp_path / "child").read_text())
    assert_gone(child)
    assert "contention-w1" not in names_of_threads()


LEAVES_A_CHILD = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
pathlib.Path("child").write_text(str(child.pid))
"""


def test_what_a_process_leaves_running_is_gone_when_it_is_stopped(
    loop: VirtualClockLoop, tmp_path: Path
) -> None:
    command = process([sys.executable, "-c", LEAVES_A_CHILD], folder=tmp_path)
    assert outcome_of(command, loop) is None
    assert_gone(int((tmp_path / "child").read_text()))


def assert_gone(process_id: int) -> None:
    """A killed process is gone as soon as whoever adopted it has collected it."""
    ends_at = time.monotonic() + 10
    while is_running(process_id) and time.monotonic() < ends_at:
        if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
    assert not is_running(process_id)


# --- time ------------------------------------------------------------------------------------


def test_a_task_is_not_woken_while_a_thread_works_for_it(loop: VirtualClockLoop) -> None:
    begun, enough = threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        enough.wait()
        return "computed"

    async def send_off(_links: Links) -> str:
        return await asyncio.wait_for(asyncio.to_thread(compute), 3600)

    async def play() -> object:
        watched = Watched(send_off, loop)
        watched.worker.start(LINKS)
        await until(begun.is_set)
        was_woken = watched.worker.wake()
        enough.set()
        assert not was_woken
        await watched.ended.wait()
        return watched.worker.outcome

    assert loop.run_until_complete(play()) == "computed"


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_time_that_a_worker_computes_is_told(loop: VirtualClockLoop, kind: str) -> None:
    body: Body = compute_until_told if kind == "thread" else process(compute_for_ever)

    async def play() -> None:
        watched = Watched(body, loop)
        watched.worker.start(LINKS)
        try:
            await until(lambda: watched.worker.cpu_seconds > 0.05)
        finally:
            await watched.worker.stop()

    loop.run_until_complete(play())


def compute_until_told(_links: Links) -> None:
    while True:
        pass


def compute_for_ever(_links: Links) -> None:
    while True:
        pass
