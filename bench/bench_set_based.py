"""Many policies at once: chunks beside COPY of the same rows, and beside the reference.

Chunks and COPY take turns on stretches of one portfolio, in the same tables with the same
constraints and triggers, so that both meet the same server at the same time; the reference pays
policies of its own tables on the same server, sixteen at once. fsync and synchronous commit are on.
Every policy has a cover of its own and gets two claims. Times depend on how busy the machine is:
use the ratios. What is spent where is told by processor time, which depends on it less.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from statistics import median
from typing import Final, TypeVar
from uuid import uuid4

from _portfolio import DAY, Portfolio, servers, store
from _reference import pay
from _spent import postmaster_of, processor_seconds
from pydantic import SecretStr
from sqlalchemy import text

from claimwright.domain.money import share_half_up
from claimwright.operations.calculate_chunk import calculate_chunk
from claimwright.operations.calculate_days import WORKERS
from claimwright.operations.plan_work import POLICIES_PER_CHUNK, plan
from claimwright.operations.transactions import retried_by_driver, transaction
from claimwright.runtime import Addresses, Runtime, open_runtime
from claimwright.settings import Settings
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.database import Driver
from claimwright.storage.requests import RequestKind, pending_page
from claimwright.storage.standings import copy_claims

REFERENCE_AT_ONCE: Final = 16
CLAIMS_A_POLICY: Final = 2
Item = TypeVar("Item")
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a round took: seconds, and seconds of processor time here and in PostgreSQL."""

    claims: int
    seconds: float
    client: float
    server: float

    @property
    def rate(self) -> float:
        """Claims a second."""
        return self.claims / self.seconds

    @property
    def spent(self) -> float:
        """Seconds of processor time a claim."""
        return (self.client + self.server) / self.claims

    def __str__(self) -> str:
        client, server = (1e6 * spent / self.claims for spent in (self.client, self.server))
        return (
            f"{self.rate:9,.0f} claims/s  client {client:5.1f}  PostgreSQL {server:5.1f} us a claim"
        )


class Bench:
    """One portfolio on one server."""

    def __init__(self, runtime: Runtime, portfolio: Portfolio, workers: int) -> None:
        self.runtime = runtime
        self.portfolio = portfolio
        self.workers = workers
        self.postmaster = postmaster_of(runtime)

    async def at_once(self, items: Sequence[Item], work: Callable[[Item], Awaitable[int]]) -> Taken:
        """Do the items, so many at once."""
        waiting: Iterator[Item] = iter(items)
        claims = 0

        async def worker() -> None:
            nonlocal claims
            for item in waiting:
                made = await work(item)
                claims += made

        server, client, began = processor_seconds(self.postmaster), time.process_time(), time.time()
        await asyncio.gather(*(worker() for _ in range(self.workers)))
        seconds, client = time.time() - began, time.process_time() - client
        return Taken(claims, seconds, client, processor_seconds(self.postmaster) - server)

    async def keys(self, policies_per_chunk: int) -> list[ChunkKey]:
        """The chunks of the day, cut so large."""
        async with transaction(self.runtime) as connection:
            requests = await pending_page(
                connection, RequestKind.CALCULATE, days=(DAY, DAY), after=None, limit=100_000
            )
        plans = [
            await plan(self.runtime, request, policies_per_chunk=policies_per_chunk)
            for request in requests
        ]
        return [chunk.key for one in plans for chunk in one.chunks]

    async def chunk(self, key: ChunkKey) -> int:
        """Pay a chunk."""
        return (await calculate_chunk(self.runtime, key)).claims

    async def copy(self, rows: Sequence[Row]) -> int:
        """Copy what a chunk would store, in a transaction of its own."""

        async def copied(connection: Driver) -> int:
            await copy_claims(connection, rows)
            return len(rows)

        return await retried_by_driver(self.runtime, copied)

    async def rows_of(self, keys: Sequence[ChunkKey]) -> list[list[Row]]:
        """The claims of chunks of one region, reckoned here."""
        async with transaction(self.runtime) as connection:
            stretches = await connection.execute(
                text("SELECT number, after_id, up_to_id FROM work_chunks")
            )
            ids = {row.number: range(row.after_id + 1, row.up_to_id + 1) for row in stretches}
            sha = await connection.scalar(text("SELECT terms_sha256 FROM product_versions"))
            events = list(
                await connection.scalars(text("SELECT id FROM risk_events ORDER BY triggered_at"))
            )
        return [
            [row for number in ids[key.number] for row in self._rows(number, events, (sha,))]
            for key in keys
        ]

    def _rows(self, policy_id: int, events: Sequence[int], tail: Row) -> Iterator[Row]:
        cover = 100 * (1_000 + policy_id % self.portfolio.covers)
        low, high = (share_half_up(cover, Decimal(percent)) for percent in (20, 50))
        tail = (*tail, _CALCULATION, "bench")
        yield (policy_id, events[0], DAY, str(DAY), "tier1", 0, low, Decimal(20), *tail)
        yield (policy_id, events[1], DAY, str(DAY), "tier2", low, high, Decimal(30), *tail)


_CALCULATION: Final = uuid4()


async def by_turns(bench: Bench, policies_per_chunk: int, of_reference: int) -> dict[str, float]:
    """Turns of chunks, of COPY and of the reference; the chunks' ratio to each of the others."""
    keys = await bench.keys(policies_per_chunk)
    ours, theirs = keys[::2], await bench.rows_of(keys[1::2])
    size = max(bench.workers, len(theirs) // 6)
    rounds = [slice(start, start + size) for start in range(0, len(theirs), size)]
    policies = iter(range(1, bench.portfolio.policies + 1))
    turns = [
        (
            await bench.at_once(ours[place], bench.chunk),
            await bench.at_once(theirs[place], bench.copy),
            await reference(bench, list(islice(policies, of_reference // len(rounds)))),
        )
        for place in rounds
    ]
    turns = turns[1:] or turns  # the first opens connections and prepares statements
    for name, taken in zip(("chunks", "COPY", "reference"), turns[-1], strict=True):
        print(f"  {name:10} {taken}")
    found = {}
    for place, name in ((1, "copy"), (2, "reference")):
        found[f"of_{name}"] = median(turn[0].rate / turn[place].rate for turn in turns)
        found[f"of_{name}_by_cpu"] = median(turn[place].spent / turn[0].spent for turn in turns)
        print(
            f"  {found[f'of_{name}']:.2f} times the claims a second of {name}, "
            f"{found[f'of_{name}_by_cpu']:.2f} times by processor time"
        )
    return found


async def reference(bench: Bench, policies: Sequence[int]) -> Taken:
    """What the reference takes for these policies."""

    async def one(policy_id: int) -> int:
        return await pay(bench.runtime.sessions, bench.runtime.redis, policy_id, DAY)

    return await Bench(bench.runtime, bench.portfolio, REFERENCE_AT_ONCE).at_once(policies, one)


async def in_processes(bench: Bench, keys: Sequence[ChunkKey], processes: int) -> dict[str, float]:
    """So many processes share the chunks: their rate, processor time and largest memory."""
    found = []
    for number in range(processes):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--child",
            bench.runtime.addresses.database_url,
            bench.runtime.addresses.redis_url,
            str(bench.workers),
            json.dumps(keys[number::processes]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        found.append(process)
    began, server = time.time(), processor_seconds(bench.postmaster)
    for process in found:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    outputs = [await process.communicate() for process in found]
    told = [json.loads(output) for output, _ in outputs]
    seconds = max(one["ended"] for one in told) - began
    policies = sum(one["claims"] for one in told) / CLAIMS_A_POLICY
    spent = processor_seconds(bench.postmaster) - server + sum(one["client"] for one in told)
    peak, rate = max(one["peak_mb"] for one in told), policies / seconds
    print(
        f"  {processes} process(es): {rate:9,.0f} policies/s, "
        f"{1e6 * spent / policies:.1f} us of processors a policy, at most {peak:.0f} MB each"
    )
    return {
        f"processes_{processes}": rate,
        f"us_{processes}": 1e6 * spent / policies,
        f"peak_mb_{processes}": peak,
    }


async def child(database_url: str, redis_url: str, workers: int, keys: list[ChunkKey]) -> None:
    """Pay some chunks when told to."""
    settings = Settings(database_url=SecretStr(database_url), redis_url=SecretStr(redis_url))
    async with open_runtime(
        settings, Addresses(database_url, database_url, redis_url, None)
    ) as runtime:
        async with transaction(runtime):
            print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        waiting, claims, began = iter(keys), 0, time.process_time()

        async def worker() -> None:
            nonlocal claims
            for key in waiting:
                made = (await calculate_chunk(runtime, key)).claims
                claims += made

        await asyncio.gather(*(worker() for _ in range(workers)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    client = time.process_time() - began
    print(
        json.dumps({"claims": claims, "client": client, "ended": time.time(), "peak_mb": peak_mb})
    )


async def measure(portfolio: Portfolio, asked: argparse.Namespace) -> dict[str, float]:
    """Everything that one portfolio shows."""
    found: dict[str, float] = {"policies": portfolio.policies, "regions": portfolio.regions}
    if portfolio.regions == 1 and asked.reference:
        with servers() as (settings, addresses):
            async with open_runtime(settings, addresses) as runtime:
                await store(runtime, portfolio)
                bench = Bench(runtime, portfolio, asked.workers)
                found |= await by_turns(bench, asked.chunk, asked.reference)
    for processes in asked.processes:
        with servers() as (settings, addresses):
            async with open_runtime(settings, addresses) as runtime:
                bench = Bench(runtime, portfolio, asked.workers)
                await store(runtime, portfolio)
                keys = await bench.keys(asked.chunk)
                found |= await in_processes(bench, keys, processes)
    return found


async def main() -> None:
    """Measure one hot region, and many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=20_000)
    parser.add_argument("--regions", type=int, nargs="+", default=[1])
    parser.add_argument("--chunk", type=int, default=POLICIES_PER_CHUNK)
    parser.add_argument("--workers", type=int, default=WORKERS, help="chunks at once, a process")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument(
        "--reference",
        type=int,
        default=1_000,
        help="policies the reference pays; 0 leaves the turns out",
    )
    parser.add_argument("--json", action="store_true", help="the figures as one JSON document")
    asked = parser.parse_args()
    # Several chunks in each hand even where the portfolio is small.
    asked.chunk = min(asked.chunk, max(500, asked.policies // 20))
    found = []
    for regions in asked.regions:
        print(f"{asked.policies:,} policies in {regions:,} region(s), {asked.workers} at once")
        found.append(await measure(Portfolio(asked.policies, regions), asked))
    if asked.json:
        print(json.dumps(found))


if sys.argv[1:2] == ["--child"]:
    _, _, database, redis, at_once, chunks = sys.argv
    asyncio.run(
        child(database, redis, int(at_once), [ChunkKey(*key) for key in json.loads(chunks)])
    )
else:
    asyncio.run(main())
