"""WATCH, MULTI and EXEC, as clients of Redis without a lock count on them."""

import pytest
import redis
from redis.asyncio import Redis
from redis.exceptions import WatchError

from contention.explore import Bounds, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers


async def no_visits(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as keys:
        await keys.set("visits", 0)


async def two_visits(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as keys:
        visits = int(await keys.get("visits") or 0)
    assert visits == 2, f"{visits} visits"


async def visit(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as keys, keys.pipeline() as pipe:
        while True:
            await pipe.watch("visits")
            visits = int(await pipe.get("visits") or 0)  # at once, after WATCH
            pipe.multi()  # type: ignore[no-untyped-call]  # redis has few types
            pipe.set("visits", visits + 1)
            try:
                await pipe.execute()
            except WatchError:
                continue
            return


def visit_as_a_thread(links: Links) -> None:
    with redis.Redis.from_url(links.redis_url) as keys:

        def count(pipe: "redis.client.Pipeline") -> None:
            visits = pipe.get("visits")  # at once, after WATCH
            pipe.multi()
            pipe.set("visits", int(visits or 0) + 1)

        keys.transaction(count, "visits")


async def visit_after_a_look(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as keys, keys.pipeline() as pipe:
        visits = int(await keys.get("visits") or 0)
        await pipe.watch("visits")
        pipe.multi()  # type: ignore[no-untyped-call]  # redis has few types
        pipe.set("visits", visits + 1)
        await pipe.execute()


async def test_what_is_read_under_watch_is_counted_under_every_order(servers: Servers) -> None:
    found = await explore(
        visit, visit_as_a_thread, setup=no_visits, invariant=two_visits, servers=servers
    )
    assert found.verdict.kind is VerdictKind.LEGAL
    assert found.schedules > 2


async def test_what_is_read_before_watch_is_lost(servers: Servers) -> None:
    with pytest.raises(NotGreenError, match="1 visits"):
        await explore(
            visit_after_a_look,
            visit_after_a_look,
            setup=no_visits,
            invariant=two_visits,
            servers=servers,
            may_raise=WatchError,
            bounds=Bounds(shrinking=0),
        )
