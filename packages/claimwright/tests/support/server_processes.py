"""Embedded servers seen from outside: other processes that use them, and what the system runs."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis.asyncio as redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

GONE_SECONDS = 20

USER_PROGRAM = """
import sys
from pathlib import Path
from claimwright.embedded import embedded_servers

with embedded_servers(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""

TEMPORARY_USER_PROGRAM = """
import sys
from claimwright.embedded import temporary_servers

with temporary_servers(postgres_settings={"fsync": "off"}) as addresses:
    print(addresses.folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that the servers' account can enter, which pytest's own are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="claimwright-test-")).resolve()
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def user_process(folder: Path, program: str = USER_PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """Another process, in a terminal session of its own, that uses the servers of ``folder``."""
    with begun_user_process(folder, program) as process:
        assert first_line(process) == "ready"
        yield process
        if process.poll() is None:
            leave(process)


@contextmanager
def begun_user_process(folder: Path, program: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(GONE_SECONDS)


def server_processes(folder: Path) -> list[psutil.Process]:
    """Both servers that run on ``folder`` now."""
    postmaster = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]
    valkey = (folder / "valkey" / "valkey.pid").read_text()
    return [psutil.Process(int(postmaster)), psutil.Process(int(valkey))]


def child_process(parent: subprocess.Popen[str], name: str) -> psutil.Process:
    """The parent's child of that name, as soon as there is one."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        for process in psutil.Process(parent.pid).children():
            if process.name() == name:
                return process
    raise LookupError(name)


def command_lines() -> list[list[str]]:
    """The words of every command that runs on this machine."""
    return [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end; they are ending already, so that this is a matter of moments."""
    deadline = time.monotonic() + GONE_SECONDS
    while any(map(is_running, processes)):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def are_running(processes: list[psutil.Process]) -> bool:
    return all(map(is_running, processes))


def is_running(process: psutil.Process) -> bool:
    """Whether it still runs; one that waits for its parent to take notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def sql(address: str, *statements: str) -> list[Any]:
    """Run statements in one transaction and return the last one's rows."""
    engine = create_async_engine(address)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return list(result.all()) if result.returns_rows else []
    finally:
        await engine.dispose()


async def ping(address: str) -> bool:
    async with redis.from_url(address) as client:
        return bool(await client.ping())
