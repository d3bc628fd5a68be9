"""Whoever keeps a connection from one run to the next is told so: its code may be right."""

from collections.abc import Callable

import asyncpg
import psycopg
import psycopg2
import pytest
import redis.asyncio
from sqlalchemy import Engine, create_engine, text

from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers
from contention.wire.workers import Body

from .programs import found_by

ADD = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"


def on_asyncpg() -> Body:
    kept: list[asyncpg.Connection[asyncpg.Record]] = []

    async def work(links: Links) -> None:
        if not kept:
            kept.append(await asyncpg.connect(links.postgres_url))
        await kept[0].execute(ADD)

    return work


def on_psycopg() -> Body:
    kept: list[psycopg.AsyncConnection] = []

    async def work(links: Links) -> None:
        if not kept:
            url = links.postgres_url
            kept.append(await psycopg.AsyncConnection.connect(url, autocommit=True))
        await kept[0].execute(ADD)

    return work


def on_psycopg2() -> Body:
    kept: list[psycopg2.extensions.connection] = []

    def work(links: Links) -> None:
        if not kept:
            kept.append(psycopg2.connect(links.postgres_url))
        kept[0].cursor().execute(ADD)
        kept[0].commit()

    return work


def on_sqlalchemy() -> Body:
    engines: list[Engine] = []

    def work(links: Links) -> None:
        if not engines:
            url = links.postgres_url.replace("postgresql:", "postgresql+psycopg:")
            engines.append(create_engine(url))
        with engines[0].begin() as connection:
            connection.execute(text(ADD))

    return work


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("made_by", [on_asyncpg, on_psycopg, on_psycopg2, on_sqlalchemy])
async def test_a_connection_that_is_kept_is_told(
    servers: Servers, made_by: Callable[[], Body]
) -> None:
    found = await found_by(servers, made_by())
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "without having connected to PostgreSQL, as it did in an earlier run" in str(
        found.verdict.reason
    )
    assert "inside of the worker" in found.verdict.reason


async def test_who_fails_before_it_connects_is_judged(servers: Servers) -> None:
    """A worker that finds something taken in Redis, and raises, has kept nothing."""

    async def work(links: Links) -> None:
        async with redis.asyncio.Redis.from_url(links.redis_url) as client:
            if not await client.set("taken", 1, nx=True):
                raise redis.exceptions.LockError("taken")
        connection = await asyncpg.connect(links.postgres_url)
        await connection.close()

    found = await found_by(servers, work, work, may_raise=(redis.exceptions.LockError,))
    assert found.verdict.kind is VerdictKind.LEGAL
