"""A run that ends in the middle of transactions leaves no driver's complaints in the user's log."""

import logging
import select
from collections.abc import Sequence

import psycopg
import pytest
import redis
from redis.asyncio import Redis

from contention.explore import NotGreenError, explore
from contention.model.steps import Effect
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body

from .programs import two_accounts

WRITE = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"


class GivesUpAfter:
    """A scheduler that knows the rest of its only run after some choices."""

    is_complete = False
    cut_reason = "the rest"

    def __init__(self, choices: int) -> None:
        self.left = choices
        self.runs = 1

    def start(self) -> bool:
        self.runs -= 1
        return self.runs >= 0

    def choose(self, options: Sequence[str]) -> str | None:
        self.left -= 1
        return options[self.left % len(options)] if self.left >= 0 else None

    def executed(self, effect: Effect) -> None: ...


async def give_up(servers: Servers, worker: Body, choices: int) -> None:
    """Explore nothing but the beginning of one run, and what is always run before it."""
    with pytest.raises(NotGreenError, match="the rest"):
        await explore(
            worker,
            worker,
            setup=two_accounts,
            servers=servers,
            scheduler=GivesUpAfter(choices),
            may_raise=(ValueError, psycopg.Error),
        )


async def asks_redis_in_a_transaction(links: Links) -> None:
    async with (
        await psycopg.AsyncConnection.connect(links.postgres_url) as connection,
        Redis.from_url(links.redis_url) as client,
        connection.transaction(),
    ):
        await connection.execute(WRITE)
        await client.get("key")


async def asks_redis_in_a_connections_transaction(links: Links) -> None:
    async with (
        await psycopg.AsyncConnection.connect(links.postgres_url) as connection,
        Redis.from_url(links.redis_url) as client,
    ):
        await connection.execute(WRITE)
        await client.get("key")
        await client.get("key")


async def asks_redis_at_a_savepoint(links: Links) -> None:
    async with (
        await psycopg.AsyncConnection.connect(links.postgres_url) as connection,
        Redis.from_url(links.redis_url) as client,
        connection.transaction(),
        connection.transaction(),
    ):
        await connection.execute(WRITE)
        await client.get("key")


def asks_redis_in_a_threads_transaction(links: Links) -> None:
    with (
        psycopg.connect(links.postgres_url) as connection,
        redis.Redis.from_url(links.redis_url) as client,
    ):
        connection.execute(WRITE)
        client.get("key")


async def fails_in_a_transaction(links: Links) -> None:
    async with (
        await psycopg.AsyncConnection.connect(links.postgres_url) as connection,
        connection.transaction(),
    ):
        await connection.execute(WRITE)
        raise ValueError


def fails_in_a_threads_transaction(links: Links) -> None:
    with psycopg.connect(links.postgres_url) as connection:
        connection.execute(WRITE)
        raise ValueError


@pytest.mark.parametrize(
    "worker",
    [
        asks_redis_in_a_transaction,
        asks_redis_in_a_connections_transaction,
        asks_redis_at_a_savepoint,
        asks_redis_in_a_threads_transaction,
        fails_in_a_transaction,
        fails_in_a_threads_transaction,
    ],
)
async def test_a_driver_that_is_cut_off_in_a_transaction_has_nothing_to_complain_about(
    servers: Servers, worker: Body, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for choices in (1, 2, 3, 4):
            await give_up(servers, worker, choices)
    assert not caplog.messages


async def test_who_goes_on_after_the_end_is_not_answered(servers: Servers) -> None:
    answers: list[object] = []

    def goes_on(links: Links) -> None:
        with psycopg.connect(links.postgres_url) as connection:
            try:
                with redis.Redis.from_url(links.redis_url) as client:
                    connection.execute(WRITE)
                    client.get("key")
            except redis.ConnectionError:
                answers.append(connection.execute("SELECT 1").fetchall())

    await give_up(servers, goes_on, choices=1)
    assert not answers


async def test_who_leaves_its_connection_open_is_cut_off(servers: Servers) -> None:
    left: list[psycopg.Connection] = []

    def leaves(links: Links) -> None:
        left.append(psycopg.connect(links.postgres_url))
        left[-1].execute(WRITE)
        with redis.Redis.from_url(links.redis_url) as client:
            client.get("key")

    await give_up(servers, leaves, choices=1)
    for connection in left:
        if connection.broken:
            continue
        at_end, _, _ = select.select([connection.fileno()], [], [], 10)
        assert at_end, "nobody has closed the other side"
        connection.close()
