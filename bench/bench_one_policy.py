"""One policy at a time, sixteen at once: the engine with everything on beside the reference.

Both sides pay policies of the same portfolio by turns, on the same servers, with the same driver,
pool and settings; fsync and synchronous commit are on. What they paid is compared in the end.
Times depend on how busy the machine is: use the ratios.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from _portfolio import DAY, Portfolio, servers, store
from _reference import SCHEMA, pay
from sqlalchemy import text

from claimwright.operations.calculate import PolicyCalculation
from claimwright.runtime import Runtime, open_runtime

AT_ONCE: Final = 16
_DIFFERENT: Final = text(
    f"""
    WITH ours AS (
        SELECT policy_id, event_id, tier_level, payout_percentage, amount_minor / 100.0 AS amount
        FROM claims),
    theirs AS (
        SELECT policy_id, event_id, tier_level, payout_percentage, amount FROM {SCHEMA}.claims)
    SELECT count(*) FROM (
        (SELECT * FROM ours EXCEPT SELECT * FROM theirs)
        UNION ALL (SELECT * FROM theirs EXCEPT SELECT * FROM ours)) AS different
    """
)

Turn = Callable[[int], Awaitable[object]]


@dataclass(slots=True)
class Side:
    """One way to pay, and what it took: seconds and processor time a round, seconds a policy."""

    name: str
    turn: Turn
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    async def round(self, policies: Sequence[int]) -> None:
        """Pay these policies, so many at once."""
        queue: Iterator[int] = iter(policies)

        async def worker() -> None:
            for policy_id in queue:
                began = time.perf_counter()
                await self.turn(policy_id)
                self.latencies.append(time.perf_counter() - began)

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        self.rates.append(len(policies) / (time.perf_counter() - began))
        self.cpu_ms.append(1_000 * (time.process_time() - cpu) / len(policies))

    def __str__(self) -> str:
        p99 = quantiles(self.latencies, n=100)[98]
        return (
            f"{self.name:28} {median(self.rates):7,.0f} policies/s  p50 "
            f"{1_000 * median(self.latencies):6.1f} ms  p99 {1_000 * p99:6.1f} ms  "
            f"{median(self.cpu_ms):5.2f} ms client CPU a policy"
        )


async def measure(runtime: Runtime, portfolio: Portfolio, rounds: int) -> dict[str, object]:
    """Both sides by turns; every round pays policies that its side has not paid yet."""
    await store(runtime, portfolio)
    options = runtime.lease_options

    async def ours(policy_id: int) -> None:
        await PolicyCalculation().run(runtime.engine, runtime.redis, policy_id, DAY, options)

    async def theirs(policy_id: int) -> None:
        await pay(runtime.sessions, runtime.redis, policy_id, DAY)

    sides = Side("reference", theirs), Side("claimwright", ours)
    ids = range(1, portfolio.policies + 1)
    size = portfolio.policies // (rounds + 1)
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            await side.round(ids[number * size : (number + 1) * size])
            if number == 0:  # connections are opened and statements prepared
                side.rates.clear()
                side.cpu_ms.clear()
                side.latencies.clear()
    async with runtime.engine.connect() as connection:
        different = await connection.scalar(_DIFFERENT)
    if different:
        sys.exit(f"the two sides paid differently: {different} rows")
    reference, engine = sides
    ratio = median(mine / other for mine, other in zip(engine.rates, reference.rates, strict=True))
    cpu = median(other / mine for mine, other in zip(engine.cpu_ms, reference.cpu_ms, strict=True))
    for side in sides:
        print(side)
    print(f"  {ratio:.2f} times the reference's policies a second (median of {rounds} pairs)")
    print(f"  {cpu:.2f} times as much by the client's processor time")
    return {"regions": portfolio.regions, "ratio": ratio, "ratio_by_cpu": cpu}


async def main() -> None:
    """Measure with many regions and with one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--regions", type=int, nargs="+", default=[1_000, 1])
    parser.add_argument("--json", action="store_true", help="the ratios as one JSON document")
    asked = parser.parse_args()
    found = []
    for regions in asked.regions:
        print(f"{asked.policies:,} policies in {regions:,} region(s), {AT_ONCE} at once")
        with servers() as (settings, addresses):
            async with open_runtime(settings, addresses) as runtime:
                portfolio = Portfolio(asked.policies, regions)
                found.append(await measure(runtime, portfolio, asked.rounds))
    if asked.json:
        print(json.dumps(found))


asyncio.run(main())
