"""What a run left behind is read whole: every row, every kind of key."""

from typing import TYPE_CHECKING

import asyncpg
import pytest

from contention.wire.outcome_reader import plan_tables, read_keys, read_tables
from contention.wire.own_connections import connect_redis
from contention.wire.restore_keys import KeysStart
from contention.wire.servers import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def database(servers: Servers) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute("DROP DATABASE IF EXISTS outcomes WITH (FORCE)")
    await admin.execute("CREATE DATABASE outcomes")
    connection = await asyncpg.connect(servers.postgres.using("outcomes").url)
    yield connection
    await connection.close()
    await admin.execute("DROP DATABASE outcomes")
    await admin.close()


async def test_rows_of_many_tables_do_not_get_mixed_up(
    database: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    for number in range(120):
        await database.execute(f"CREATE TABLE t{number:03} (a int, b text)")
        await database.execute(f"INSERT INTO t{number:03} VALUES ({number}, NULL)")
    await database.execute("CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES")
    await database.execute('CREATE TABLE "Odd ""name""" ("a ""b""" text[])')
    await database.execute('INSERT INTO "Odd ""name""" VALUES (ARRAY[\'x\', NULL])')
    tables = await read_tables(database, await plan_tables(database, ()))
    assert {name: table.rows for name, table in tables.items()} == {
        **{f"t{number:03}": ((str(number), None),) for number in range(120)},
        "bare": ((),),
        '"Odd ""name"""': (("{x,NULL}",),),
    }


async def test_every_kind_of_key_is_read(servers: Servers) -> None:
    client = connect_redis(servers.redis)
    await client.flushall()
    await client.set("text", b"\x00", px=60_000)
    await client.rpush("list", "a", "b")
    await client.hset("hash", mapping={"a": 1})
    await client.sadd("set", 1, 2)
    await client.zadd("sorted", {"a": 1.5})
    await client.xadd("stream", {"a": 1})
    await client.set("left out", 1)
    assert await read_keys(client, ["left*"]) == {
        "text": (("string", b"\x00"), True),
        "list": (("list", (b"a", b"b")), False),
        "hash": (("hash", frozenset({(b"a", b"1")})), False),
        "set": (("set", frozenset({b"1", b"2"})), False),
        "sorted": (("zset", ((b"a", 1.5),)), False),
        "stream": (("stream", (((b"a", b"1"),),)), False),
    }
    await client.flushall()
    await client.aclose()


async def test_whoever_looks_at_keys_does_so_again_after_being_cut_off(servers: Servers) -> None:
    other = connect_redis(servers.redis)
    await other.flushall()
    start = await KeysStart.of(servers.redis)
    await start.restore()
    number = await start.client.client_id()
    await other.client_kill_filter(_id=str(number))
    await other.set("left", 1)
    assert await read_keys(start.client, ()) == {"left": (("string", b"1"), False)}
    await start.restore()
    assert await read_keys(start.client, ()) == {}
    await other.aclose()
    await start.close()


async def test_one_connection_puts_back_and_looks(servers: Servers) -> None:
    start = await KeysStart.of(servers.redis)
    numbers = set()
    for _ in range(3):
        await start.restore()
        numbers.add(await start.client.client_id())
    assert len(numbers) == 1
    await start.close()
