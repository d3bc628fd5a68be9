"""A limit that the kit lets fire says to the byte what the server says when it really fires."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from contention.explore import explore
from contention.model.schedules import Choice, Schedule
from contention.schedulers.replay import ReplayScheduler
from contention.search.exploration import UndecidedError
from contention.wire.servers import Links, Servers

from .programs import two_accounts

UPDATE = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"
HOLD = "UPDATE accounts SET amount = 5 WHERE id = 1"


def message(letter: bytes, body: bytes = b"") -> bytes:
    return letter + struct.pack(">I", 4 + len(body)) + body


def query(sql: str) -> bytes:
    return message(b"Q", sql.encode() + b"\0")


def extended(sql: str) -> bytes:
    return (
        message(b"P", b"\0" + sql.encode() + b"\0\0\0")
        + message(b"B", bytes(8))
        + message(b"E", bytes(5))
        + message(b"S")
    )


class Wire:
    """A connection that reads and writes the protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> bytes:
        """All that is answered, up to ReadyForQuery."""
        self._writer.write(request)
        answer = b""
        while True:
            head = await self._reader.readexactly(5)
            answer += head + await self._reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)
            if head[:1] == b"Z":
                return answer


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    reader, writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
    connection = Wire(reader, writer)
    body = f"user\0postgres\0database\0{parts.path[1:]}\0\0".encode()
    await connection.ask(struct.pack(">II", 8 + len(body), 3 << 16) + body)
    try:
        yield connection
    finally:
        writer.write(message(b"X"))
        writer.close()
        await writer.wait_closed()


async def told_by_the_server(servers: Servers, setting: str, requests: list[bytes]) -> list[bytes]:
    """What a limit of fifty milliseconds really says, in a database like that of the runs."""
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute("CREATE DATABASE really")
    own = Servers(servers.postgres.using("really"), servers.redis)
    try:
        await two_accounts(own.links)
        holder = await asyncpg.connect(own.links.postgres_url)
        await holder.execute("BEGIN")
        await holder.execute(HOLD)
        async with wire(own.links.postgres_url) as connection:
            await connection.ask(query(f"SET {setting} = '50ms'"))
            answers = [await connection.ask(request) for request in requests]
        await holder.close()
    finally:
        await admin.execute("DROP DATABASE really WITH (FORCE)")
        await admin.close()
    return answers


async def told_by_the_kit(servers: Servers, setting: str, requests: list[bytes]) -> list[bytes]:
    """What is told when the limit of ten minutes is let fire."""
    answers: list[bytes] = []

    async def hold(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        async with connection.transaction():
            await connection.execute(HOLD)
        await connection.close()

    async def wait(links: Links) -> None:
        answers.clear()
        async with wire(links.postgres_url) as connection:
            await connection.ask(query(f"SET {setting} = '10min'"))
            answers.extend([await connection.ask(request) for request in requests])

    names = ["w1", "w2", f"expire w2/1 {setting}"]
    scheduler = ReplayScheduler(Schedule(tuple(map(Choice, names))))
    with pytest.raises(UndecidedError, match="every schedule but the one replayed"):
        await explore(
            hold,
            wait,
            setup=two_accounts,
            invariant=nothing,
            servers=servers,
            scheduler=scheduler,
        )
    return answers


async def nothing(_links: Links) -> None:
    pass


ASKED = {
    "alone": [query(UPDATE)],
    "in a transaction": [query("BEGIN"), query(UPDATE), query("SELECT 1"), query("ROLLBACK")],
    "behind a savepoint": [
        query("BEGIN"),
        query("SAVEPOINT here"),
        query(f"{UPDATE} RETURNING *"),
        query("ROLLBACK TO here"),
        query("COMMIT"),
    ],
    "in several messages": [query("BEGIN"), extended(UPDATE), query("ROLLBACK")],
    "while rows are sent": [
        query("BEGIN"),
        query("SELECT repeat('tea', 5000), id + 0 FROM accounts ORDER BY id DESC FOR UPDATE"),
        query("ROLLBACK"),
    ],
}


@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
async def test_a_limit_is_told_as_the_server_tells_it(
    servers: Servers, setting: str, how: str
) -> None:
    really = await told_by_the_server(servers, setting, ASKED[how])
    kit = await told_by_the_kit(servers, setting, ASKED[how])
    assert any(b"canceling statement due to" in answer for answer in really)
    assert kit == really
