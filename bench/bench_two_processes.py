"""Two worker processes against one, by both paths, and what each of them spends on a claim.

One policy at a time, sixteen at once in each process; and chunks of many policies. Processes share
the portfolio and the servers. Beside the rates stands where the time of a claim goes: the client's
processor time, PostgreSQL's, Redis's, the log that is written and how often it is flushed, and what
transactions were seen waiting for. With as many cores as processes the rates double only while
PostgreSQL leaves them a core; the shares of a claim say what the limit is elsewhere.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from statistics import median
from typing import Any, Final

from _portfolio import DAY, Portfolio, servers, store
from _spent import Meter
from pydantic import SecretStr
from sqlalchemy import text

from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.calculate_chunk import calculate_chunk
from claimwright.operations.calculate_days import WORKERS
from claimwright.operations.plan_work import POLICIES_PER_CHUNK, plan
from claimwright.operations.transactions import transaction
from claimwright.runtime import Addresses, Runtime, open_runtime
from claimwright.settings import Settings
from claimwright.storage.chunks import ChunkKey
from claimwright.storage.requests import RequestKind, pending_page

AT_ONCE: Final = 16
_COUNT: Final = text("SELECT count(*) FROM claims")
Work = dict[str, Any]


async def at_once(
    workers: int, items: Iterable[Any], work: Callable[[Any], Awaitable[object]]
) -> None:
    """Do the items, so many at once."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(workers)))


async def do(runtime: Runtime, work: Work) -> None:
    """One process's share."""

    async def pay_policy(policy_id: int) -> None:
        options = runtime.lease_options
        await PolicyCalculation().run(runtime.engine, runtime.redis, policy_id, DAY, options)

    async def pay_chunk(key: list[int]) -> None:
        await calculate_chunk(runtime, ChunkKey(*key))

    if work["path"] == "one policy":
        await at_once(AT_ONCE, work["items"], pay_policy)
    else:
        await at_once(WORKERS, work["items"], pay_chunk)


async def child(database_url: str, redis_url: str, work: Work) -> None:
    """Do a share when told to, after a few items that open connections and prepare statements."""
    settings = Settings(database_url=SecretStr(database_url), redis_url=SecretStr(redis_url))
    addresses = Addresses(database_url, database_url, redis_url, None)
    async with open_runtime(settings, addresses) as runtime:
        await do(runtime, work | {"items": work["warm_up"]})
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.process_time()
        await do(runtime, work)
    print(json.dumps({"client": time.process_time() - began}))


async def in_processes(runtime: Runtime, path: str, shares: list[list[Any]]) -> dict[str, float]:
    """What so many processes reach with these shares, and what a claim takes."""
    addresses, processes = runtime.addresses, []
    for share in shares:
        few = 100 if path == "one policy" else 1
        work = {"path": path, "warm_up": share[:few], "items": share[few:]}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--child",
            addresses.database_url,
            addresses.redis_url,
            json.dumps(work),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        processes.append(process)
    before = await _claims(runtime)
    async with (await Meter.on(runtime)).measuring() as spent:
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        told = [json.loads(output) for output, _ in outputs]
    spent.client = sum(one["client"] for one in told)
    return spent.told(await _claims(runtime) - before)


async def _claims(runtime: Runtime) -> int:
    async with transaction(runtime) as connection:
        return int((await connection.execute(_COUNT)).scalar_one())


async def items_of(runtime: Runtime, path: str, policies: int) -> list[Any]:
    """What is to be paid: policies, or chunks of them."""
    if path == "one policy":
        return list(range(1, policies + 1))
    async with transaction(runtime) as connection:
        requests = await pending_page(
            connection, RequestKind.CALCULATE, days=(DAY, DAY), after=None, limit=100
        )
    size = min(POLICIES_PER_CHUNK, policies // 80)
    plans = [await plan(runtime, request, policies_per_chunk=size) for request in requests]
    return [list(chunk.key) for one in plans for chunk in one.chunks]


async def measure(path: str, portfolio: Portfolio, rounds: int) -> list[list[dict[str, float]]]:
    """Rounds of one process, then two, on slices of one portfolio."""
    with servers() as (settings, addresses):
        async with open_runtime(settings, addresses) as runtime:
            await store(runtime, portfolio)
            every = await items_of(runtime, path, portfolio.policies)
            items, size = iter(every), len(every) // (2 * rounds)
            found = []
            for number in range(rounds):
                pair = []
                for processes in (1, 2) if number % 2 else (2, 1):
                    slice_ = list(islice(items, size))
                    shares = [slice_[place::processes] for place in range(processes)]
                    pair.append(await in_processes(runtime, path, shares))
                found.append(pair if number % 2 else pair[::-1])
    return found


async def main() -> None:
    """Measure both paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-by-one", type=int, default=12_000, help="policies, one at a time")
    parser.add_argument("--in-chunks", type=int, default=160_000, help="policies in chunks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the figures as one JSON document")
    asked = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count()}
    for path, policies, regions in (
        ("one policy", asked.one_by_one, 1_000),
        ("chunks", asked.in_chunks, 1),
    ):
        print(f"{path}: {policies:,} policies, {os.cpu_count()} cores")
        rounds = await measure(path, Portfolio(policies, regions), asked.rounds)
        gain = median(two["claims_a_second"] / one["claims_a_second"] for one, two in rounds)
        middle = [_middle(kind) for kind in zip(*rounds, strict=True)]
        for processes, one in enumerate(middle, 1):
            print(f"  {processes} process(es), a claim:")
            for name, value in one.items():
                print(f"    {name:28} {value:12,.2f}")
        print(f"  two processes reach {gain:.2f} times the claims a second of one")
        found[path] = {
            "gain": gain,
            "processes": [_middle(kind) for kind in zip(*rounds, strict=True)],
        }
    if asked.json:
        print(json.dumps(found))


def _middle(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    rounds = list(rounds)
    return {name: median(one.get(name, 0.0) for one in rounds) for name in rounds[0]}


if sys.argv[1:2] == ["--child"]:
    asyncio.run(child(sys.argv[2], sys.argv[3], json.loads(sys.argv[4])))
else:
    asyncio.run(main())
