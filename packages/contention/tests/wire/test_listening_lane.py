"""Connections on which the kit asks whether all has come that the server had sent."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psycopg
import pytest
from redis.asyncio import Redis

from contention.wire.events import Failure
from contention.wire.gate import Address, Gate, Lane, Reply, Request
from contention.wire.listening_lane import ListeningLane
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming
from contention.wire.servers import Servers

MESSAGES = 200


class Open:
    """A keeper that lets everything pass."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.asked: list[str] = []

    def opened(self, lane: Lane) -> None:
        self.lanes.append(lane)

    def arrived(self, _lane: Lane, request: Request) -> bool:
        self.asked += getattr(request, "texts", [])
        return True

    def replied(self, lane: Lane, request: Request, reply: Reply) -> None:
        pass

    def failed(self, _lane: Lane, failure: Failure) -> None:
        raise AssertionError(failure)

    def closed(self, lane: Lane) -> None:
        pass


class Asking(asyncio.Protocol):
    """Where somebody asks."""

    def __init__(self, slow: "SlowToTell") -> None:
        self.slow = slow
        self.unread = b""
        self.server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.client = transport
        self.slow.ends.append(transport)
        self.reaching = asyncio.ensure_future(self.slow.reach(self))

    def data_received(self, data: bytes) -> None:
        if self.server is None:
            self.unread += data
        else:
            self.server.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.server is not None:
            self.server.close()


class Answering(asyncio.Protocol):
    """Where the server answers."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking

    def data_received(self, data: bytes) -> None:
        slow, client = self.asking.slow, self.asking.client
        if slow.keeps:
            slow.kept.append((client, data))
        else:
            client.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.asking.client.close()


class SlowToTell:
    """Passes on what a server says, or keeps it until it is told to."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.kept: list[tuple[asyncio.Transport, bytes]] = []
        self.keeps = False
        self.ends: list[asyncio.Transport] = []

    async def reach(self, asking: "Asking") -> None:
        loop = asyncio.get_running_loop()
        ours, _ = await loop.create_unix_connection(lambda: Answering(asking), self.server.path)
        self.ends.append(ours)
        ours.write(asking.unread)
        asking.server = ours

    def tell(self) -> None:
        self.keeps = False
        for writer, data in self.kept:
            writer.write(data)
        self.kept = []


@asynccontextmanager
async def behind(
    server: Address, name: str, framing: Callable[[], PostgresFraming | RespFraming]
) -> AsyncIterator[tuple[Open, Path, SlowToTell]]:
    """A gate, with somebody slow between it and the server."""
    slow, keeper = SlowToTell(server), Open()
    with tempfile.TemporaryDirectory(prefix="contention-") as folder:
        between = Path(folder) / "slow.sock"
        listener = await asyncio.get_running_loop().create_unix_server(
            lambda: Asking(slow), between
        )
        gate = Gate("w1", Address(path=str(between)), framing, keeper)
        await gate.listen(Address(path=str(Path(folder) / name)))
        try:
            yield keeper, Path(folder), slow
        finally:
            await gate.close()
            listener.close()
            for end in slow.ends:
                end.abort()


def listening(keeper: Open) -> ListeningLane:
    lane = next(one for one in keeper.lanes if one.has_subscribed)
    assert isinstance(lane, ListeningLane)
    return lane


async def test_what_postgres_notified_before_has_come_when_it_answers(servers: Servers) -> None:
    heard: list[object] = []
    async with behind(servers.postgres.address, ".s.PGSQL.5432", PostgresFraming) as (
        keeper,
        folder,
        slow,
    ):
        listener = await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
        await listener.add_listener("news", lambda *told: heard.append(told[3]))
        slow.keeps = True
        async with await psycopg.AsyncConnection.connect(
            servers.postgres.using("postgres").url, autocommit=True
        ) as notifier:
            for number in range(MESSAGES):
                await notifier.execute(f"NOTIFY news, '{number}'")
        answer = listening(keeper).ask_aside()
        assert not answer.done()
        assert heard == []
        slow.tell()
        assert await answer
        # It was asked out of sight, and the connection goes on as if nothing had been.
        assert await listener.fetchval("SELECT 7") == 7
        assert heard == [str(number) for number in range(MESSAGES)]
        assert set(keeper.asked) == {'LISTEN "news"', "SELECT 7"}
        await listener.close()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_redis_published_before_has_come_when_it_answers(
    servers: Servers, protocol: int
) -> None:
    async with behind(servers.redis.address, "redis.sock", RespFraming) as (keeper, folder, slow):
        client = Redis(unix_socket_path=str(folder / "redis.sock"), protocol=protocol)
        async with client, client.pubsub() as messages:
            await messages.subscribe("news")
            assert await messages.get_message(timeout=None)
            slow.keeps = True
            async with Redis.from_url(servers.redis.url) as publisher:
                for number in range(MESSAGES):
                    await publisher.publish("news", number)
            answer = listening(keeper).ask_aside()
            assert not answer.done()
            slow.tell()
            assert await answer
            heard = [await messages.get_message(timeout=None) for _ in range(MESSAGES)]
            assert [one["data"] for one in heard if one] == [
                str(number).encode() for number in range(MESSAGES)
            ]
            await messages.unsubscribe("news")
            last = await messages.get_message(timeout=None)
            assert last
            assert last["type"] == "unsubscribe"


async def test_nothing_is_asked_where_it_would_mean_something(servers: Servers) -> None:
    async with behind(servers.redis.address, "redis.sock", RespFraming) as (keeper, folder, _slow):
        reader, writer = await asyncio.open_unix_connection(str(folder / "redis.sock"))
        writer.write(b"*1\r\n$5\r\nMULTI\r\n")
        assert await reader.readline() == b"+OK\r\n"
        lane = keeper.lanes[0]
        assert isinstance(lane, ListeningLane)
        assert not await lane.ask_aside()
        writer.write(b"*1\r\n$4\r\nEXEC\r\n")
        assert await reader.readline() == b"*0\r\n"
        asking = lane.ask_aside()
        writer.close()
        await writer.wait_closed()
        assert isinstance(await asking, bool)  # whichever came first, nobody waits for ever
