"""Threads and processes through the same gates as tasks, with the same verdicts."""

import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from contention.explore import Bounds
from contention.model.steps import Effect
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body, WorkerFailedError, process

from . import worker_programs as programs
from .programs import accounts_hold, add_one, found_by


async def test_a_lost_update_of_two_threads_is_found(servers: Servers) -> None:
    workers = (programs.add_one, programs.add_one)
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "the accounts hold 1, not 2" in found.verdict.reason


async def test_a_row_lock_cures_it_for_threads(servers: Servers) -> None:
    workers = (programs.add_one_locked, programs.add_one_locked)
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_lost_update_of_a_task_and_a_process_is_found(servers: Servers) -> None:
    workers = (add_one, process(programs.add_one))
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "the accounts hold 1, not 2" in found.verdict.reason


async def test_a_command_line_is_moved_like_any_other_worker(servers: Servers) -> None:
    code = (
        "import psycopg, sys; c = psycopg.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    )
    sql = "UPDATE accounts SET amount = amount + 2 WHERE id = 1"
    command = process([sys.executable, "-c", code, "{postgres_url}", sql])
    workers = (command, partial(programs.add_some, amount=1))
    found = await found_by(servers, *workers, invariant=accounts_hold(3))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_two_threads_under_a_redis_lock_wait_for_each_other(servers: Servers) -> None:
    workers = (programs.add_one_under_a_redis_lock, programs.add_one_under_a_redis_lock)
    found = await found_by(servers, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_may_raise_works_for_an_exception_out_of_a_process(servers: Servers) -> None:
    worker = process(programs.close_the_shop)
    found = await found_by(servers, worker, invariant=accounts_hold(0))
    assert found.verdict.reason == "w1 raised ShopClosedError: tea"
    expected = (programs.ShopClosedError,)
    found = await found_by(servers, worker, invariant=accounts_hold(0), may_raise=expected)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_an_exception_that_no_other_process_can_rebuild_is_described(
    servers: Servers,
) -> None:
    worker = process(programs.close_the_shop_for_good)
    found = await found_by(servers, worker, invariant=accounts_hold(0))
    assert "w1 raised WorkerFailedError: UnpicklableError: tea 3" in found.verdict.reason
    expected = (WorkerFailedError,)
    found = await found_by(servers, worker, invariant=accounts_hold(0), may_raise=expected)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_thread_that_does_nothing_for_long_is_unknown(servers: Servers) -> None:
    enough = threading.Event()

    def wait(_links: Links) -> None:
        enough.wait(2)

    bounds = Bounds(silence_seconds=0.2)
    found = await found_by(servers, wait, invariant=accounts_hold(0), bounds=bounds)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "w1 neither ends, waits nor asks" in found.verdict.reason


def folders_of_processes() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("ct-process-*"))


class GivesUp:
    """A scheduler that knows the rest of every run when it begins."""

    is_complete = True
    cut_reason = ""

    def __init__(self) -> None:
        self.runs = 1

    def start(self) -> bool:
        self.runs -= 1
        return self.runs >= 0

    def choose(self, options: Sequence[str]) -> str | None:
        return None

    def executed(self, effect: Effect) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "body", [programs.try_again_for_ever, process(programs.try_again_for_ever)]
)
async def test_who_tries_again_for_ever_is_gone_when_its_run_is_given_up(
    servers: Servers, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    with tempfile.TemporaryDirectory(prefix="ct-") as own:
        monkeypatch.setattr(tempfile, "tempdir", own)
        await found_by(servers, body, invariant=accounts_hold(0), scheduler=GivesUp())
        assert not folders_of_processes()
    assert set(threading.enumerate()) <= before
