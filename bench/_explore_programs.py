"""The programs that both explorers run, as people write them.

Nothing but drivers is imported: the peer runs them in an environment of its own.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import psycopg
import redis
from redis.asyncio import Redis

TABLES = """
    DROP TABLE IF EXISTS accounts, orders;
    CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL);
    INSERT INTO accounts VALUES (1, 0), (2, 0);
    CREATE TABLE orders (item text)
"""


class Links(Protocol):
    """Where a worker finds its servers."""

    @property
    def postgres_url(self) -> str:
        """For asyncpg and psycopg."""

    @property
    def redis_url(self) -> str:
        """For redis-py."""


Worker = Callable[[Links], Awaitable[object]]


def prepare(links: Links) -> None:
    """Empty both servers and make the tables."""
    with psycopg.connect(links.postgres_url, autocommit=True) as connection:
        connection.execute(TABLES)
    client = redis.Redis.from_url(links.redis_url)
    client.flushall()
    client.close()


def number(links: Links, query: str) -> int:
    """What a query finds at the end."""
    with psycopg.connect(links.postgres_url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


async def add_one(links: Links, locking: str = "") -> None:
    """Read, then write what was read plus one, in one transaction."""
    connection = await asyncpg.connect(links.postgres_url)
    async with connection.transaction():
        amount = await connection.fetchval(f"SELECT amount FROM accounts WHERE id = 1{locking}")
        await connection.execute("UPDATE accounts SET amount = $1 WHERE id = 1", amount + 1)
    await connection.close()


async def add_one_locked(links: Links) -> None:
    """The same with the row locked."""
    await add_one(links, " FOR UPDATE")


async def order_under_a_redis_lock(links: Links) -> None:
    """Insert an order if there is none, under a lock in Redis."""
    client = Redis.from_url(links.redis_url)
    connection = await asyncpg.connect(links.postgres_url)
    async with client.lock("orders", timeout=None):
        if not await connection.fetchval("SELECT count(*) FROM orders"):
            await connection.execute("INSERT INTO orders VALUES ('tea')")
    await connection.close()
    await client.aclose()


@dataclass(frozen=True, slots=True)
class Program:
    """Workers, what has to hold at the end, and whether it does under every order."""

    name: str
    worker: Worker
    count: int
    query: str
    expected: int
    is_right: bool

    def holds(self, links: Links) -> bool:
        """Whether what has to hold does."""
        return number(links, self.query) == self.expected


SUM = "SELECT sum(amount) FROM accounts"
PROGRAMS = (
    Program("lost update, 2 workers", add_one, 2, SUM, 2, is_right=False),
    Program("FOR UPDATE, 3 workers", add_one_locked, 3, SUM, 3, is_right=True),
    Program(
        "check-then-insert under a Redis lock, 2 workers",
        order_under_a_redis_lock,
        2,
        "SELECT count(*) FROM orders",
        1,
        is_right=True,
    ),
)
