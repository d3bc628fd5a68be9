"""A program whose exploration is blocked until it is interrupted; its test presses Ctrl-C."""

import asyncio
import sys
import threading
import time
from pathlib import Path

from contention.explore import Bounds, explore
from contention.wire.servers import Links, PostgresServer, RedisServer, Servers
from contention.wire.workers import process


def sleep(_links: Links) -> None:
    time.sleep(3600)


async def nothing(_links: Links) -> None:
    """A setup that makes nothing, or an invariant that is never asked."""


def main(postgres: str, redis: str, told: str, who: str) -> None:
    def block_at_once() -> None:
        Path(told).touch()
        threading.Event().wait()

    async def block(_links: Links) -> None:
        block_at_once()

    servers = Servers(PostgresServer.from_url(postgres), RedisServer.from_url(redis))
    setup, worker = (block, nothing) if who == "setup" else (nothing, block)
    bounds = Bounds(silence_seconds=3600)
    workers = (process(sleep), worker)
    asyncio.run(explore(*workers, setup=setup, invariant=nothing, servers=servers, bounds=bounds))


if __name__ == "__main__":
    main(*sys.argv[1:])
