"""After the workers have ended, time-outs may still fire: whoever looks then finds either end."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from contention.explore import explore
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.wire.servers import Links, Servers

from .programs import Program

Ends = set[tuple[bytes | None, ...]]
ALONE = ("SET a 1 PX 5000",)
BESIDE_ANOTHER = (*ALONE, "DEL other")
TWO = (*ALONE, "SET b 2 PX 3000")


def asks(command: str) -> Program:
    async def work(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.execute_command(*command.split())  # type: ignore[no-untyped-call]

    return work


async def ends_of(servers: Servers, commands: Sequence[str], *, is_reduced: bool) -> Ends:
    found: Ends = set()

    async def note(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            values: list[Any] = [await redis.get(key) for key in ("a", "b")]
        found.add(tuple(values))

    await explore(
        *map(asks, commands),
        invariant=note,
        servers=servers,
        scheduler=ExhaustiveScheduler(is_reduced=is_reduced),
    )
    return found


@pytest.mark.parametrize("is_reduced", [True, False])
@pytest.mark.parametrize("commands", [ALONE, BESIDE_ANOTHER])
async def test_a_lease_that_is_left_may_have_run_out_when_somebody_looks(
    servers: Servers, commands: Sequence[str], *, is_reduced: bool
) -> None:
    found = await ends_of(servers, commands, is_reduced=is_reduced)
    assert found == {(b"1", None), (None, None)}


@pytest.mark.parametrize("is_reduced", [True, False])
async def test_the_longer_lease_runs_out_alone_only_before_the_shorter_is_taken(
    servers: Servers, *, is_reduced: bool
) -> None:
    found = await ends_of(servers, TWO, is_reduced=is_reduced)
    assert found == {(b"1", b"2"), (b"1", None), (None, b"2"), (None, None)}
