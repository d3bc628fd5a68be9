"""An async worker that blocks the kit's own loop ends the search, and is told by name and line."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import psycopg2
import pytest
import redis
from sqlalchemy.util import greenlet_spawn

from contention.explore import Bounds, Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import Program, accounts_hold, add_one, two_accounts

HERE = Path(__file__)
PROGRAM = HERE.with_name("blocked.py")
PATIENCE_SECONDS = 60
SILENCE_SECONDS = 0.2


async def found_by(
    servers: Servers,
    worker: Callable[[Links], Awaitable[object]],
    *others: Callable[[Links], Awaitable[object]],
    invariant: Program | None = None,
) -> Exploration:
    try:
        return await explore(
            worker,
            *others,
            setup=two_accounts,
            invariant=invariant or accounts_hold(len(others)),
            servers=servers,
            bounds=Bounds(silence_seconds=SILENCE_SECONDS),
        )
    except NotGreenError as broken:
        return broken.exploration


async def connects_by_psycopg(links: Links) -> None:
    psycopg.connect(links.postgres_url)


async def connects_by_psycopg2(links: Links) -> None:
    psycopg2.connect(links.postgres_url)


async def asks_by_an_open_connection(links: Links) -> None:
    connection = await asyncio.to_thread(psycopg2.connect, links.postgres_url)
    connection.cursor().execute("SELECT 1")


async def asks_redis(links: Links) -> None:
    redis.Redis.from_url(links.redis_url, socket_timeout=None).get("key")


async def asks_in_a_greenlet(links: Links) -> None:
    await greenlet_spawn(psycopg2.connect, links.postgres_url)


async def asks_again_and_again(links: Links) -> None:
    while True:
        try:
            psycopg2.connect(links.postgres_url)
        except psycopg2.OperationalError:
            continue


async def computes_for_ever(_links: Links) -> None:
    while True:
        time.thread_time()


def line_of(function: Callable[..., object], text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    number = first + next(number for number, line in enumerate(lines) if text in line)
    return f"{HERE.relative_to(Path.cwd())}:{number}"


@pytest.mark.parametrize(
    ("worker", "text"),
    [
        (connects_by_psycopg, "connect("),
        (connects_by_psycopg2, "connect("),
        (asks_by_an_open_connection, "execute("),
        (asks_redis, "get("),
        (asks_again_and_again, "connect("),
        (computes_for_ever, "thread_time()"),
    ],
)
async def test_who_blocks_the_loop_is_named_with_the_line_and_what_to_do(
    servers: Servers, worker: Callable[[Links], Awaitable[object]], text: str
) -> None:
    before = set(threading.enumerate())
    found = await found_by(servers, worker, add_one)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert found.verdict.reason.startswith("w1 has neither awaited nor ended for ")
    assert f" at {line_of(worker, text)}" in found.verdict.reason
    assert "give it as an ordinary function" in found.verdict.reason
    for thread in set(threading.enumerate()) - before:
        thread.join(
            PATIENCE_SECONDS
        )  # the loop's helpers have been told to end, and end by themselves
    assert set(threading.enumerate()) <= before


async def test_who_blocks_in_a_greenlet_is_named_as_well(servers: Servers) -> None:
    found = await found_by(servers, asks_in_a_greenlet)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert found.verdict.reason.startswith("w1 has neither awaited nor ended for ")


@pytest.fixture
def enough() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_search_does_not_wait_for_who_cannot_be_brought_back(
    servers: Servers, enough: threading.Event
) -> None:
    before = set(threading.enumerate())

    async def waits(_links: Links) -> None:
        enough.wait()

    found = await found_by(servers, add_one, waits)
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "w2 has neither awaited nor ended for 0." in found.verdict.reason
    found = await found_by(servers, add_one, invariant=accounts_hold(1))
    assert found.verdict.kind is VerdictKind.LEGAL
    enough.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)
    assert set(threading.enumerate()) <= before


async def test_who_computes_for_longer_is_not_taken_for_blocked(servers: Servers) -> None:
    async def computes(links: Links) -> None:
        until = time.thread_time() + 3 * SILENCE_SECONDS
        while time.thread_time() < until:
            pass
        await add_one(links)

    found = await found_by(servers, computes, invariant=accounts_hold(1))
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_an_invariant_may_block_for_longer(servers: Servers, enough: threading.Event) -> None:
    async def looks(_links: Links) -> None:
        enough.wait(3 * SILENCE_SECONDS)

    found = await found_by(servers, add_one, invariant=looks)
    assert found.verdict.kind is VerdictKind.LEGAL


@pytest.mark.parametrize("who", ["worker", "setup"])
def test_ctrl_c_is_heard_while_somebody_blocks(servers: Servers, tmp_path: Path, who: str) -> None:
    told = tmp_path / "told"
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), servers.postgres.url, servers.redis.url, str(told), who],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not told.exists():
            assert time.monotonic() < ends_at, "it never came"
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=PATIENCE_SECONDS)
    finally:
        program.kill()
        program.wait()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not list(tmp_path.glob("ct-*"))
