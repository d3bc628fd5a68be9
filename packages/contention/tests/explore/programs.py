"""Small programs with known truths, as people write them; each is a worker of an exploration."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockNotOwnedError

from contention.explore import Exploration, NotGreenError, explore
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body

Program = Callable[[Links], Awaitable[object]]
if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

READ = "SELECT amount FROM accounts WHERE id = 1"
WRITE = "UPDATE accounts SET amount = $1 WHERE id = 1"


@asynccontextmanager
async def database(links: Links) -> "AsyncIterator[Connection]":
    connection = await asyncpg.connect(links.postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


async def found_by(servers: Servers, *workers: Body, **options: Any) -> Exploration:  # noqa: ANN401 - as `explore` takes them
    """What an exploration finds from two accounts on, whatever its verdict."""
    try:
        return await explore(*workers, **{"setup": two_accounts, "servers": servers, **options})
    except NotGreenError as error:
        return error.exploration


async def two_accounts(links: Links) -> None:
    async with database(links) as connection:
        await connection.execute(
            """
            CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL);
            INSERT INTO accounts VALUES (1, 0), (2, 0);
            CREATE TABLE orders (item text);
            CREATE TABLE unique_orders (item text UNIQUE);
            """
        )


def accounts_hold(total: int) -> Program:
    async def check(links: Links) -> None:
        async with database(links) as connection:
            found = await connection.fetchval("SELECT sum(amount) FROM accounts")
        assert found == total, f"the accounts hold {found}, not {total}"

    return check


async def one_order(links: Links) -> None:
    async with database(links) as connection:
        found = await connection.fetchval(
            "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM unique_orders)"
        )
    assert found == 1, f"there are {found} orders"


async def add_one(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        amount = await connection.fetchval(READ)
        await connection.execute(WRITE, amount + 1)


async def add_one_locked(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        amount = await connection.fetchval(f"{READ} FOR UPDATE")
        await connection.execute(WRITE, amount + 1)


def add_to_both(first: int, second: int) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection, connection.transaction():
            for account in (first, second):
                await connection.execute(
                    "UPDATE accounts SET amount = amount + 1 WHERE id = $1", account
                )

    return work


@asynccontextmanager
async def redis_lock(
    links: Links, name: str, lease_seconds: float | None = None
) -> AsyncIterator[Lock]:
    async with Redis.from_url(links.redis_url) as redis:
        lock = redis.lock(name, timeout=lease_seconds)
        await lock.acquire()
        try:
            yield lock
        finally:
            # Whoever lets a lease run out has nothing to release; a test says what that does.
            with suppress(LockNotOwnedError):
                await lock.release()


def add_one_under_a_redis_lock(lease_seconds: float | None = None) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection, redis_lock(links, "accounts", lease_seconds):
            amount = await connection.fetchval(READ)
            await connection.execute(WRITE, amount + 1)

    return work


async def commit_after_the_lock_is_released(links: Links) -> None:
    async with (
        database(links) as connection,
        connection.transaction(),
        redis_lock(links, "accounts"),
    ):
        amount = await connection.fetchval(READ)
        await connection.execute(WRITE, amount + 1)


async def order_if_there_is_none(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        if not await connection.fetchval("SELECT count(*) FROM orders"):
            await connection.execute("INSERT INTO orders VALUES ('tea')")


async def order_under_a_unique_key(links: Links) -> None:
    async with database(links) as connection, connection.transaction():
        if not await connection.fetchval("SELECT count(*) FROM unique_orders"):
            await connection.execute("INSERT INTO unique_orders VALUES ('tea')")
