"""Two runs of the same days at the same time, in two processes, on the same servers."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from claimwright.demo.facts import Run
from claimwright.demo.rival import READY, run_of
from claimwright.domain.errors import CalculationError
from claimwright.operations.calculate_days import Notify, calculate_days
from claimwright.operations.run_reports import Scope
from claimwright.runtime import Runtime
from claimwright.settings import PREFIX


async def race(runtime: Runtime, scope: Scope, *, workers: int, notify: Notify) -> tuple[Run, Run]:
    """Calculate the scope here and in a second process, both beginning at the same moment.

    The second process is ended whatever happens here.

    Raises:
        CalculationError: the second process failed.
    """
    async with _rival(runtime, scope, workers) as other:
        await _expect(other, READY)
        assert other.stdin is not None  # noqa: S101 - made with a pipe
        other.stdin.write(b"go\n")
        ours, theirs = await asyncio.gather(
            timed_run(runtime, scope, workers=workers, notify=notify), _line(other)
        )
    try:
        return ours, Run(**json.loads(theirs))
    except (TypeError, ValueError):
        raise CalculationError("the second process ended before its run did") from None


async def timed_run(
    runtime: Runtime, scope: Scope, *, workers: int, notify: Notify, everything: bool = False
) -> Run:
    """Calculate the scope here; everything in it, or what is asked for."""
    started = time.perf_counter()
    report = await calculate_days(
        runtime, scope, everything=everything, workers=workers, notify=notify
    )
    return run_of(report, time.perf_counter() - started)


@asynccontextmanager
async def _rival(runtime: Runtime, scope: Scope, workers: int) -> AsyncIterator[Process]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(PREFIX)
    } | {
        f"{PREFIX}DATABASE_URL": runtime.addresses.database_url,
        f"{PREFIX}REDIS_URL": runtime.addresses.redis_url,
    }
    command = [sys.executable, "-m", "claimwright.demo.rival"]
    process = await asyncio.create_subprocess_exec(
        *command,
        scope.first.isoformat(),
        scope.last.isoformat(),
        str(workers),
        stdin=PIPE,
        stdout=PIPE,
        env=environment,
        # Ctrl-C is for this process alone, which then ends the other one.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _expect(process: Process, word: str) -> None:
    if await _line(process) != word:
        raise CalculationError("the second process did not start")


async def _line(process: Process) -> str:
    assert process.stdout is not None  # noqa: S101 - made with a pipe
    return (await process.stdout.readline()).decode().strip()
