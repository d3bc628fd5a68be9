"""What a worker changes of the whole Redis server is refused; all else is put back."""

import pytest
from redis.asyncio import Redis

from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import found_by

LIBRARY = "#!lua name=shop\nredis.register_function('sold', function() return 'none' end)"


async def always(_links: Links) -> None:
    """An invariant that always holds."""


@pytest.mark.parametrize(
    "command",
    ["CONFIG SET maxmemory-policy allkeys-lru", "ACL SETUSER till on nopass", "config set hz 20"],
)
async def test_settings_and_users_are_refused_and_stay_as_they_were(
    servers: Servers, command: str
) -> None:
    async def changes(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.execute_command(*command.split())  # type: ignore[no-untyped-call]

    async with Redis.from_url(servers.redis.url) as redis:
        before = await redis.config_get("*"), await redis.acl_users()
        found = await found_by(servers, changes, invariant=always)
        assert (await redis.config_get("*"), await redis.acl_users()) == before
    assert found.verdict.kind is VerdictKind.UNKNOWN, found
    what = " ".join(command.upper().split()[:2])
    assert found.verdict.reason == (
        f"w1: {what} cannot pass a gate: what it changes belongs to the whole server and is not "
        "put back for the next run; do it before the test, or in setup"
    )


async def test_functions_and_other_databases_are_put_back(servers: Servers) -> None:
    seen: list[object] = []

    async def changes(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.function_load(LIBRARY)
            await redis.select(3)
            seen.append(await redis.exists("seen"))
            await redis.set("seen", 1)

    async def counts(links: Links) -> None:
        async with Redis.from_url(links.redis_url) as redis:
            await redis.select(3)
            await redis.get("other")

    found = await found_by(servers, changes, counts, invariant=always)
    assert found.verdict.kind is VerdictKind.LEGAL, found
    assert len(seen) > 1
    assert set(seen) == {0}
