"""Without an invariant, time may pass in a serial order as it has passed in the run."""

from collections.abc import Callable

from redis.asyncio import Redis

from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import Program, found_by


class BusyError(Exception):
    """Somebody else has the lease."""


async def nothing(_links: Links) -> None:
    """Everything is empty."""


def of_redis(work: Callable[["Redis"], object]) -> Program:
    async def worker(links: Links) -> object:
        async with Redis.from_url(links.redis_url) as client:
            return await work(client)  # type: ignore[misc]

    return worker


@of_redis
async def once_a_day(client: "Redis") -> object:
    return await client.set("done", 1, nx=True, ex=86_400)


@of_redis
async def once_a_day_checked_before(client: "Redis") -> object:
    if await client.get("done"):
        return None
    return await client.set("done", 1, ex=86_400)


@of_redis
async def write_and_read(client: "Redis") -> object:
    await client.set("session", "x", ex=60)
    return await client.get("session")


@of_redis
async def count_hits(client: "Redis") -> object:
    await client.incr("hits")
    return await client.expire("hits", 60)


@of_redis
async def add_one_under_a_lease(client: "Redis") -> object:
    if not await client.set("lease", 1, nx=True, ex=60):
        raise BusyError
    found = int(await client.get("n") or 0)
    await client.set("n", found + 1)
    return await client.delete("lease") and None


async def test_two_who_are_both_the_first_with_time_between_them_are_right(
    servers: Servers,
) -> None:
    found = await found_by(servers, once_a_day, once_a_day, setup=nothing)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_two_who_are_both_the_first_at_one_moment_are_wrong(servers: Servers) -> None:
    workers = [once_a_day_checked_before] * 2
    found = await found_by(servers, *workers, setup=nothing)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.counterexample is not None
    assert {choice.actor for choice in found.counterexample.schedule.choices} == {"w1", "w2"}


async def test_a_slow_worker_may_lose_its_own_key_in_a_serial_order(servers: Servers) -> None:
    found = await found_by(servers, write_and_read, setup=nothing)
    assert found.verdict.kind is VerdictKind.LEGAL
    assert found.schedules > 1


async def test_a_count_may_begin_anew_between_two_workers(servers: Servers) -> None:
    found = await found_by(servers, count_hits, count_hits, setup=nothing)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_lost_update_under_a_lease_that_is_too_short_is_no_serial_order(
    servers: Servers,
) -> None:
    workers = [add_one_under_a_lease] * 2
    found = await found_by(servers, *workers, setup=nothing, may_raise=BusyError)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "no serial order ends like this" in found.verdict.reason
    ageless = await found_by(
        servers, *workers, setup=nothing, may_raise=BusyError, leases_age=False
    )
    assert ageless.verdict.kind is VerdictKind.LEGAL
