"""Several runs over the same days at once, beside the same runs one after another.

One after another, the first run does everything and the others find nothing asked for. At once they
share the work; what racing costs more is what two of them do at the same time, and waiting.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import SecretStr

from claimwright.demo.facts import Run
from claimwright.demo.inputs import product_terms, weather_file, weather_mapping, write_policies
from claimwright.demo.portfolio import FIRST_DAY, LAST_DAY, portfolio
from claimwright.demo.rival import READY
from claimwright.embedded import (
    ServerAddresses,
    create_database,
    drop_database,
    temporary_servers,
)
from claimwright.operations.add_product import add_product
from claimwright.operations.import_policies import import_policies
from claimwright.operations.import_readings import import_readings
from claimwright.runtime import Addresses, open_runtime
from claimwright.settings import PREFIX, Settings
from claimwright.storage.schema import upgrade_now

TEMPLATE = "insured"
_numbers = count(1)


class Finish(NamedTuple):
    """Runs that have come to their end, and how long that took together."""

    seconds: float
    runs: list[Run]

    @property
    def calculations(self) -> int:
        """Calculations of all runs."""
        return sum(run.calculations for run in self.runs)

    @property
    def claims(self) -> int:
        """Claims that all runs created together."""
        return sum(run.claims for run in self.runs)


def say(text: str) -> None:
    """Tell the person at the terminal what is going on."""
    print(text, file=sys.stderr, flush=True)


async def insure(database: ServerAddresses, policies: int) -> None:
    """Import the demo's weather, products and policies."""
    settings = Settings(
        database_url=SecretStr(database.database_url), redis_url=SecretStr(database.redis_url)
    )
    addresses = Addresses(
        database.database_url, database.owner_database_url, database.redis_url, None
    )
    async with open_runtime(settings, addresses) as runtime:
        for terms in product_terms():
            await add_product(runtime, terms)
        with tempfile.TemporaryDirectory() as folder:
            quarantine, source = Path(folder) / "quarantine.csv", Path(folder) / "policies.csv"
            await import_readings(runtime, weather_file(), weather_mapping(), quarantine=quarantine)
            write_policies(portfolio(policies), source)
            await import_policies(runtime, source)


async def started(stack: AsyncExitStack, database: ServerAddresses, workers: int) -> Process:
    """A process that waits for the word to calculate the year."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "claimwright.demo.rival"),
        *(FIRST_DAY.isoformat(), LAST_DAY.isoformat(), str(workers)),
        stdin=PIPE,
        stdout=PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        | {
            f"{PREFIX}DATABASE_URL": database.database_url,
            f"{PREFIX}REDIS_URL": database.redis_url,
        },
    )
    # Without its input it ends by itself.
    stack.push_async_callback(process.wait)
    assert await line_of(process) == READY
    return process


async def line_of(process: Process) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def result_of(process: Process) -> Run:
    """Give a process the word, and wait for what its run came to."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    return Run(**json.loads(await line_of(process)))


async def racing(processes: Sequence[Process]) -> Finish:
    """All at once."""
    began = time.perf_counter()
    runs = await asyncio.gather(*map(result_of, processes))
    return Finish(time.perf_counter() - began, runs)


async def one_by_one(processes: Sequence[Process]) -> Finish:
    """The same, each beginning when the one before has ended."""
    began = time.perf_counter()
    runs = [await result_of(process) for process in processes]
    return Finish(time.perf_counter() - began, runs)


async def both(servers: ServerAddresses, runs: int, workers: int) -> tuple[Finish, Finish]:
    """One after another and all at once, each on a fresh copy of the insured year."""
    finishes = []
    for way in (one_by_one, racing):
        name = f"copy_{next(_numbers)}"
        database = create_database(servers, name, template=TEMPLATE)
        async with AsyncExitStack() as stack:
            processes = [await started(stack, database, workers) for _ in range(runs)]
            finishes.append(await way(processes))
        drop_database(servers, name)
        say(f"  {way.__name__}: {finishes[-1].seconds:.1f} s")
    return finishes[0], finishes[1]


def report(rounds: Sequence[tuple[Finish, Finish]]) -> str:
    """The medians, and the median of the rounds' ratios."""
    alone = median(in_turn.runs[0].seconds for in_turn, _ in rounds)
    in_turn, at_once = (median(each[side].seconds for each in rounds) for side in (0, 1))
    contended = median(sum(run.contended for run in raced.runs) for _, raced in rounds)
    ratio = median(raced.seconds / turns.seconds for turns, raced in rounds)
    calculations = rounds[0][0].calculations

    def row(title: str, seconds: float) -> str:
        rate = f"{calculations / seconds:7,.0f} calculations/s"
        return f"{title:<30} {seconds:6.1f} s {rate}  {in_turn / seconds:4.2f}"

    return "\n".join(
        [
            f"{'the first run, alone':<30} {alone:6.1f} s",
            row("all runs, one after another", in_turn),
            row("all runs at once", at_once),
            "",
            f"{calculations:,} calculations each way; {contended:,.0f} found another run at work.",
            f"Racing takes {ratio:.2f} times as long as the same runs one after another.",
        ]
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3, help="runs at once")
    parser.add_argument("--workers", type=int, default=3, help="chunks at once, a run")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure, see that both ways pay the same, and print the ratio."""
    chosen = arguments()
    with temporary_servers() as servers:
        say(f"insure {chosen.policies:,} policies for the year")
        template = create_database(servers, TEMPLATE)
        upgrade_now(template.owner_database_url)
        asyncio.run(insure(template, chosen.policies))
        rounds = []
        for number in range(1, chosen.rounds + 1):
            say(f"round {number} of {chosen.rounds}, {chosen.runs} runs")
            rounds.append(asyncio.run(both(servers, chosen.runs, chosen.workers)))
    for finish in (finish for pair in rounds for finish in pair):
        assert not any(run.failures for run in finish.runs)
        assert (finish.claims, finish.calculations) == (
            rounds[0][0].claims,
            rounds[0][0].calculations,
        )
    print(report(rounds))


if __name__ == "__main__":
    main()
