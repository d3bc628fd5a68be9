"""How many schedules a second, where the time goes, and what a gate costs; beside frontrun.

The peer runs the same programs on the same servers, in an environment of its own that is made for
the purpose; when that cannot be made, it is said and the peer's lines are missing. Times depend on
how busy the machine is: use the ratios.
"""

import argparse
import asyncio
import functools
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from _explore_programs import PROGRAMS, SUM, Program, add_one, prepare

from contention import Bounds, Exploration, NotGreenError, explore
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.search.judges import InvariantJudge
from contention.search.runs import Runner
from contention.search.start import Start
from contention.wire.backends import Backends
from contention.wire.embedded import embedded_servers
from contention.wire.events import Failure
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.postgres import PostgresFraming
from contention.wire.servers import Links, Servers
from contention.wire.stage import Stage

PEER = ("frontrun==0.7.0", "asyncpg", "psycopg[binary]", "redis", "sqlalchemy")
ROUND_TRIPS = 2_000
SEARCHES = 5
PARTS: tuple[tuple[type, str, str], ...] = (
    (Runner, "run", "a run, with all of these but the invariant"),
    (Start, "restore", "put both servers back"),
    (Stage, "enter", "workers to their first request"),
    (Stage, "step", "requests, with what they touched"),
    (Stage, "leave", "end what is left"),
    (InvariantJudge, "objection", "the invariant"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One tool's answer to one program.

    Attributes:
        words: why, as the tool says it; empty when it says nothing.
    """

    name: str
    verdict: str
    runs: int
    seconds: float
    words: str = ""

    def __str__(self) -> str:
        rate = self.runs / self.seconds
        line = f"{self.verdict:8} {self.runs:5} runs {self.seconds:7.2f} s {rate:7.1f} runs/s"
        return line + (f"\n              {self.words[:90]}" if self.words else "")


async def make_tables(links: Links) -> None:
    """The start of every run."""
    await asyncio.to_thread(prepare, links)


async def ours(program: Program, servers: Servers, most_seconds: float) -> Line:
    """The kit's answer, with the user's invariant."""

    async def holds(links: Links) -> bool:
        connection = await asyncpg.connect(links.postgres_url)
        found = await connection.fetchval(program.query)
        await connection.close()
        return bool(found == program.expected)

    workers = [program.worker] * program.count
    began = time.perf_counter()
    bounds = Bounds(seconds=most_seconds)
    found = await search(*workers, invariant=holds, servers=servers, bounds=bounds)
    seconds = time.perf_counter() - began
    return Line(program.name, found.verdict.kind.upper(), found.schedules, seconds)


async def search(*workers: Any, **options: Any) -> Exploration:  # noqa: ANN401 - as `explore`
    """An exploration, whatever its verdict."""
    try:
        return await explore(*workers, setup=make_tables, **options)
    except NotGreenError as error:
        return error.exploration


async def every_schedule(servers: Servers) -> None:
    """Every order of the lost update, no bug to stop at: schedules a second, part by part."""

    async def any_sum(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        await connection.fetchval(SUM)
        await connection.close()

    async def searched(*, is_reduced: bool) -> Exploration:
        scheduler = ExhaustiveScheduler(is_reduced=is_reduced)
        return await search(
            add_one, add_one, invariant=any_sum, servers=servers, scheduler=scheduler
        )

    cpu_began = time.process_time()
    with timed_parts() as spent:
        every = [await searched(is_reduced=False) for _ in range(SEARCHES)]
    cpu = time.process_time() - cpu_began
    runs = sum(found.schedules for found in every)
    each = median(spent[PARTS[0][2]]) + median(spent[PARTS[-1][2]])
    print(f"every order of two workers with two statements each: {every[0].verdict}")
    print(f"  {every[0].schedules} schedules to the end, {1 / each:.1f} a second (median)")
    print(f"  {(await searched(is_reduced=True)).schedules} schedules when equal ones are left out")
    print(f"  {1000 * cpu / runs:6.1f} ms of this process's CPU a schedule, setup included")
    for _, _, what in PARTS:
        print(f"  {1000 * median(spent[what]):6.1f} ms {what}")


@contextmanager
def timed_parts() -> Iterator[dict[str, list[float]]]:
    """Seconds that each part took, each time."""
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(function: Callable[..., Awaitable[Any]], what: str) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(function)
        async def measured(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the function
            began = time.perf_counter()
            try:
                return await function(*args, **options)
            finally:
                spent[what].append(time.perf_counter() - began)

        return measured

    before = [(owner, name, getattr(owner, name)) for owner, name, _ in PARTS]
    for owner, name, what in PARTS:
        setattr(owner, name, timed(getattr(owner, name), what))
    try:
        yield spent
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


class Passing:
    """A keeper that holds nothing."""

    def opened(self, lane: Lane) -> None:
        """Nothing to note."""

    def arrived(self, lane: Lane, request: Request) -> bool:  # noqa: ARG002 - a keeper's signature
        """Everything passes."""
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        """Nothing to note."""

    def failed(self, lane: Lane, failure: Failure) -> None:  # noqa: ARG002 - a keeper's signature
        """A gate that cannot follow makes the figure worthless."""
        raise RuntimeError(str(failure))

    def closed(self, lane: Lane) -> None:
        """Nothing to note."""


async def gate_overhead(servers: Servers) -> None:
    """A round trip, and a connection, with a gate in the same loop and without."""
    backends = Backends()
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        gate = Gate("w1", servers.postgres.address, PostgresFraming, Passing(), backends)
        await gate.listen(Address(path=f"{folder}/.s.PGSQL.5432"))
        hosts = {"direct": servers.postgres.host, "gate": folder}
        trips = {where: await round_trip_seconds(host) for where, host in hosts.items()}
        opened = {where: await connection_seconds(host) for where, host in hosts.items()}
        await gate.close()
        backends.close()
    for what, times in (("SELECT 1", trips), ("a connection", opened)):
        direct, gated = (1e6 * times[where] for where in ("direct", "gate"))
        print(f"{what}: direct {direct:.0f} µs, gate {gated:.0f} µs, ratio {gated / direct:.2f}")


async def round_trip_seconds(host: str) -> float:
    """The median time of a prepared ``SELECT 1``."""
    connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
    statement = await connection.prepare("SELECT 1")
    times = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        await statement.fetchval()
        times.append(time.perf_counter() - began)
    await connection.close()
    return median(times)


async def connection_seconds(host: str) -> float:
    """The median time to open a connection and close it."""
    times = []
    for _ in range(50):
        began = time.perf_counter()
        connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
        await connection.close()
        times.append(time.perf_counter() - began)
    return median(times)


@contextmanager
def peer_python(given: str | None) -> Iterator[str]:
    """A Python that has the peer; empty, after saying why, when there cannot be one."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="bench-peer-", ignore_cleanup_errors=True) as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin/python")
        install = [python, "-m", "pip", "install", "--quiet", *PEER]
        done = subprocess.run(install, capture_output=True, text=True, check=False)  # noqa: S603 - constants
        if done.returncode:
            print(f"peer absent: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
        yield "" if done.returncode else python


def theirs(python: str, servers: Servers, most_seconds: float, number: int) -> Line:
    """The peer's answer to one program; each has a process of its own, as one may not end."""
    script = Path(__file__).with_name("_explore_peer.py")
    urls = servers.postgres.url, servers.redis.url
    command = [python, str(script), *urls, str(most_seconds), str(number)]
    name, patience = PROGRAMS[number].name, most_seconds + 30
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            command, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return Line(name, "NONE", 0, patience, f"it did not end in {patience:.0f} s")
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return Line(**json.loads(line))
    words = (done.stderr.strip().splitlines() or ["?"])[-1]
    return Line(name, "NONE", 0, patience, f"it failed: {words}")


def compare(servers: Servers, python: str, most_seconds: float) -> bool:
    """Print both tools' verdicts beside their times, and the truth; whether ours are right."""
    is_right = True
    for number, program in enumerate(PROGRAMS):
        truth = "LEGAL" if program.is_right else "ILLEGAL"
        print(f"{program.name} (truth: {truth})", flush=True)
        mine = asyncio.run(ours(program, servers, most_seconds))
        is_right &= mine.verdict == truth
        print(f"  contention  {mine}", flush=True)
        if python:
            print(f"  frontrun    {theirs(python, servers, most_seconds, number)}", flush=True)
    return is_right


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="a Python that has frontrun; else one is made")
    parser.add_argument("--seconds", type=float, default=30.0, help="a program and tool at most")
    given = parser.parse_args()
    with embedded_servers() as servers, peer_python(given.peer_python) as python:
        asyncio.run(gate_overhead(servers))
        asyncio.run(every_schedule(servers))
        if not compare(servers, python, given.seconds):
            sys.exit("a verdict of contention is wrong")


if __name__ == "__main__":
    main()
