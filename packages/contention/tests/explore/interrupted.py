"""A program that explores until it is interrupted; its test starts it and presses Ctrl-C."""

import asyncio
import os
import sys
import time
from pathlib import Path

from contention.explore import explore
from contention.wire.servers import Links, PostgresServer, RedisServer, Servers
from contention.wire.workers import process


def tell_and_sleep(_links: Links, told: str) -> None:
    Path(f"{told}.part").write_text(str(os.getpid()))
    Path(f"{told}.part").rename(told)
    time.sleep(3600)


def compute(_links: Links) -> None:
    while True:
        pass


async def wait(_links: Links) -> None:
    await asyncio.Event().wait()


async def hold(_links: Links) -> None:
    """An invariant that is never asked."""


def main(postgres: str, redis: str, told: str) -> None:
    servers = Servers(PostgresServer.from_url(postgres), RedisServer.from_url(redis))
    workers = (compute, wait, process(tell_and_sleep, told))
    asyncio.run(explore(*workers, invariant=hold, servers=servers))


if __name__ == "__main__":
    main(*sys.argv[1:])
