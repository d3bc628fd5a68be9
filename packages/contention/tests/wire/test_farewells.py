"""Whoever is cut off in a transaction is told that it is rolled back, and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from contention.wire.farewells import Farewells
from contention.wire.postgres_messages import LENGTH

ROLLED_BACK = b"C\0\0\0\x0dROLLBACK\0Z\0\0\0\x05I"
BACK_AT_SAVEPOINT = b"C\0\0\0\x0dROLLBACK\0Z\0\0\0\x05T"


def query(sql: str) -> bytes:
    body = sql.encode() + b"\0"
    return b"Q" + LENGTH.pack(LENGTH.size + len(body)) + body


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def said() -> AsyncIterator[tuple[Farewells, asyncio.Transport, Streams]]:
    """Farewells, a connection's side for them, and the client's."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    streams = await asyncio.open_connection(sock=theirs)
    yield Farewells(), transport, streams
    transport.abort()
    streams[1].close()


async def test_what_has_come_is_answered_and_what_comes(
    said: tuple[Farewells, asyncio.Transport, Streams],
) -> None:
    farewells, transport, (reader, writer) = said
    farewells.say(transport, query("ROLLBACK TO SAVEPOINT s;"))
    assert await reader.readexactly(len(BACK_AT_SAVEPOINT)) == BACK_AT_SAVEPOINT
    message = query("RELEASE s") + query("rollback;")
    writer.write(message[:7])
    await writer.drain()
    writer.write(message[7:])
    answer = BACK_AT_SAVEPOINT + ROLLED_BACK
    assert await reader.readexactly(len(answer)) == answer
    farewells.end()
    assert await reader.read() == b""


@pytest.mark.parametrize(
    "message", [query("COMMIT"), query("SELECT 1"), query(""), b"P\0\0\0\x08\0\0\0\0", b"X\0\0\0\4"]
)
async def test_who_asks_for_anything_else_is_cut_off(
    said: tuple[Farewells, asyncio.Transport, Streams], message: bytes
) -> None:
    farewells, transport, (reader, writer) = said
    farewells.say(transport, b"")
    writer.write(message)
    assert await reader.read() == b""
