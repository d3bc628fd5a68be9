"""The other process of the race: a second run of the same days on the same servers.

It says ``ready``, waits for a line, calculates, and prints what it did as one line of JSON. When
its input ends instead, whoever started it is gone, and it goes too.
"""

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date

from claimwright.demo.facts import Run
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.run_reports import RunReport, Scope
from claimwright.operations.transactions import transaction
from claimwright.runtime import open_runtime, reach_servers
from claimwright.settings import load_settings

READY = "ready"


def run_of(report: RunReport, seconds: float) -> Run:
    """What a run's report comes to."""
    return Run(
        calculations=report.calculations,
        contended=report.contended,
        claims=report.claims,
        failures=len(report.failures),
        seconds=round(seconds, 2),
    )


async def _race(scope: Scope, workers: int) -> None:
    settings = load_settings()
    with ExitStack() as stack:
        async with open_runtime(settings, reach_servers(settings, stack)) as runtime:
            async with transaction(runtime):
                print(READY, flush=True)  # noqa: T201 - said to the parent
            if not await asyncio.to_thread(sys.stdin.readline):
                return
            started = time.perf_counter()
            report = await calculate_days(runtime, scope, workers=workers)
            run = run_of(report, time.perf_counter() - started)
    print(json.dumps(asdict(run)), flush=True)  # noqa: T201 - said to the parent


if __name__ == "__main__":
    first, last, workers = sys.argv[1:]
    asyncio.run(_race(Scope(date.fromisoformat(first), date.fromisoformat(last)), int(workers)))
