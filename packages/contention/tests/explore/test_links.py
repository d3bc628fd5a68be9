"""What passes through which of a worker's links."""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import psycopg
import pytest
import redis
from kombu.connection import Connection

from contention.explore import Bounds, UndecidedError, explore
from contention.model.steps import Step
from contention.wire.broker import Message
from contention.wire.locks_seen import LockWatcher
from contention.wire.own_connections import connect_postgres, connect_redis_once
from contention.wire.own_links import OwnLinks
from contention.wire.servers import Links, Servers
from contention.wire.stage import Stage
from contention.wire.virtual_loop import VirtualClockLoop
from contention.wire.workers import Body

from .programs import database as asyncpg_connection


def played(servers: Servers, body: Body) -> tuple[list[Step], list[Message], list[str]]:
    """The steps of a worker that runs alone, what it told its broker, and its connections."""
    loop = VirtualClockLoop()

    async def play() -> tuple[list[Step], list[Message], list[str]]:
        looking = await connect_postgres(servers.postgres)
        keys = connect_redis_once(servers.redis)
        names: set[str] = set()
        with tempfile.TemporaryDirectory(prefix="ct-") as folder:
            watcher = await LockWatcher.on(looking)
            links = OwnLinks(Path(folder), servers)
            stage = Stage(loop, servers, watcher, links, keys, silence_seconds=20)
            try:
                await stage.enter([body])
                while options := stage.options():
                    names |= {lane.name for lane in stage.lanes}
                    await stage.step(options[0])
                (outcome,) = stage.results().values()
            finally:
                await stage.leave()
                await links.close()
                await keys.aclose()
                await looking.close()
        if isinstance(outcome, BaseException):
            raise outcome
        return stage.steps, stage.broker.messages, sorted(names)

    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


def send_and_receive(links: Links) -> None:
    at = Connection(links.broker_url)  # type: ignore[no-untyped-call]  # kombu has few types
    with at as broker, broker.SimpleQueue("orders") as queue:
        queue.put({"item": "tea"})
        message = queue.get(timeout=10)
        message.ack()
    with redis.Redis.from_url(links.redis_url) as client:
        client.set("done", 1)


def test_what_a_worker_tells_its_broker_is_recorded_and_no_step(servers: Servers) -> None:
    steps, messages, _ = played(servers, send_and_receive)
    assert [step.text for step in steps] == ["SET done 1"]
    asked = [message.text.partition(" ")[0] for message in messages]
    assert "LPUSH" in asked
    assert "BRPOP" in asked


def use_both(links: Links) -> None:
    with (
        psycopg.connect(links.postgres_url) as connection,
        psycopg.connect(links.postgres_url) as other,
        redis.Redis.from_url(links.redis_url) as client,
    ):
        connection.execute("SELECT 1")
        other.execute("SELECT 2")
        client.set("a", 1)


def test_connections_of_a_worker_have_names_of_their_own(servers: Servers) -> None:
    _, _, names = played(servers, use_both)
    assert names == ["w1/1", "w1/2", "w1/3"]


class SharedPool:
    """A connection that the first worker opens, and every worker then uses."""

    def __init__(self) -> None:
        self.connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def select(self, links: Links, sql: str) -> None:
        if self.connection is None:
            self.connection = await asyncpg.connect(links.postgres_url)
        await self.connection.fetchval(sql)


async def test_a_link_that_two_workers_use_is_told(servers: Servers) -> None:
    shared, opened = SharedPool(), asyncio.Event()

    async def first(links: Links) -> None:
        await shared.select(links, "SELECT 1")
        opened.set()

    async def second(links: Links) -> None:
        await opened.wait()
        await shared.select(links, "SELECT 2")

    with pytest.raises(UndecidedError, match="w2 uses a link of w1, for SELECT 2"):
        await explore(
            first,
            second,
            invariant=nothing,
            servers=servers,
            bounds=Bounds(silence_seconds=0.2),
        )


async def nothing(_links: Links) -> None:
    """An invariant that always holds."""


async def test_a_worker_that_was_not_waited_for_makes_no_verdict_legal(servers: Servers) -> None:
    told = asyncio.Event()

    async def tells(links: Links) -> None:
        async with asyncpg_connection(links) as connection:
            await connection.fetchval("SELECT 1")
        told.set()

    async def is_told(links: Links) -> None:
        await told.wait()
        async with asyncpg_connection(links) as connection:
            await connection.fetchval("SELECT 2")

    with pytest.raises(UndecidedError, match="what w2 could have asked while it was silent"):
        await explore(
            tells,
            is_told,
            invariant=nothing,
            servers=servers,
            bounds=Bounds(silence_seconds=0.2),
        )
