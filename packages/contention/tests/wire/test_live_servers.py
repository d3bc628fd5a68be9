"""What the framings believe of the servers, asked of the servers themselves, byte for byte."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from contention.wire.redis import RespFraming
from contention.wire.redis_commands import command_name, footprint_of
from contention.wire.redis_requests import RedisRequest
from contention.wire.redis_scripts import Scripts

from .strict_gate import StrictGate, described_reply
from .wire_bytes import (
    COPY_DONE,
    FLUSH,
    START_UP,
    SYNC,
    bind,
    describe,
    execute,
    message,
    parse,
    query,
)
from .wire_servers import PostgresServer, Pump, ValkeyServer, pumping

PATIENCE_SECONDS = 20
POSTGRES_START_UP = START_UP.replace(b"\x00\x00\x00\x11", b"\x00\x00\x00\x17").replace(
    b"user\0me", b"user\0postgres"
)


@pytest.fixture
async def postgres_pump(postgres: PostgresServer) -> AsyncIterator[Pump]:
    async with pumping(postgres) as pump:
        yield pump


@pytest.fixture
async def valkey_pump(valkey: ValkeyServer) -> AsyncIterator[Pump]:
    async with pumping(valkey) as pump:
        yield pump


async def converse(pump: Pump, *messages: bytes, replies: int) -> StrictGate:
    """Send bytes through a gate and read until so many replies have ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pump.port)
    for data in messages:
        writer.write(data)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not pump.gates or len(pump.gates[0].replies) < replies:
                assert await reader.read(65536), "the server closed"
                assert pump.gates[0].framing.failure is None, pump.gates[0].framing.failure
    finally:
        writer.close()
        await writer.wait_closed()
    return pump.gates[0]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [parse("broken") + FLUSH, parse("x") + FLUSH, query("SELECT 1"), SYNC],
            ["- 42601", "skipped", "skipped", "I"],
        ),
        (
            [
                parse("COPY t FROM STDIN") + bind() + execute() + SYNC,
                message("d", b"1\n"),
                COPY_DONE,
                SYNC,
            ],
            ["awaits copy -", "I COPY 1"],
        ),
        (
            [parse("COPY t FROM STDIN") + bind() + execute() + FLUSH, message("f", b"no\0") + SYNC],
            ["awaits copy -", "I 57014"],
        ),
        (
            [query("COPY t FROM STDIN"), message("d", b"x\n") + COPY_DONE, query("SELECT 1")],
            ["awaits copy -", "I 22P02", "I SELECT 1"],
        ),
        (
            [query("COPY t FROM STDIN; COPY t FROM STDIN"), COPY_DONE, COPY_DONE],
            ["awaits copy -", "awaits copy - COPY 0", "I COPY 0"],
        ),
        ([query("COPY missing FROM STDIN"), COPY_DONE, SYNC], ["I 42P01", "skipped", "I"]),
        (
            [parse("SELECT 1; SELECT 2") + FLUSH, SYNC],
            ["- 42601", "I"],
        ),
        (
            [
                parse("SELECT generate_series(1, 3)") + bind() + execute(limit=2) + FLUSH,
                execute(limit=5) + FLUSH,
                SYNC,
            ],
            ["- … ('1') ('2')", "- SELECT 1 ('3')", "I"],
        ),
        ([parse("") + bind() + describe("P") + execute() + SYNC, query("")], ["I", "I"]),
        ([query("SELECT 1; BEGIN; SELECT 1/0; SELECT 2")], ["E SELECT 1 BEGIN (1) 22012"]),
        (
            [parse("SELECT 1") + bind() + execute() + query("SELECT 2")],
            ["T SELECT 1 SELECT 1 ('1') (2)"],
        ),
        ([message("F", b"\0\0\x04\x5e" + b"\0" * 6)], ["I 42883"]),
    ],
)
async def test_postgres_answers_as_the_framing_believes(
    postgres_pump: Pump, messages: list[bytes], expected: list[str]
) -> None:
    setup = query("SET client_min_messages = error") + query("CREATE TEMP TABLE t (id int)")
    gate = await converse(
        postgres_pump, POSTGRES_START_UP, setup, *messages, replies=2 + len(expected)
    )
    found = [described_reply(gate.replies[one.number]) for one in gate.requests[2:]]
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True)), found


async def test_valkey_answers_as_the_framing_believes(valkey_pump: Pump) -> None:
    lines = [
        "CLIENT REPLY SKIP", "SET a 1", "GET a",
        "CLIENT REPLY SKIP", "CLIENT REPLY ON",
        "CLIENT REPLY OFF", "SET a 2", "RESET", "GET a",
        "HELLO 3", "SUBSCRIBE x y", "UNSUBSCRIBE", "UNSUBSCRIBE", "PING", "RESET",
        "SUBSCRIBE x", "PING", "GET a", "UNSUBSCRIBE x", "GET a",
        "MULTI", "MULTI", "WATCH a", "GET", "EXEC",
        "MULTI", "BLPOP none 0", "SELECT 1", "EXEC", "GET a",
    ]  # fmt: skip
    data = "\r\n".join([*lines, ""]).encode()
    gate = await converse(valkey_pump, data, replies=len(lines))
    found = [described_reply(gate.replies[one.number]) for one in gate.requests]
    assert found[:9] == ["skipped"] * 2 + ["'1'", "skipped", "OK"] + ["skipped"] * 2 + [
        "RESET",
        "'2'",
    ]
    assert found[10:15] == [
        "['subscribe', 'y', 2]",
        found[11],
        "['unsubscribe', nil, 0]",
        "PONG",
        "RESET",
    ]
    assert found[16] == "['pong', '']"
    assert found[17].startswith("error")
    assert found[18:20] == ["['unsubscribe', 'x', 0]", "'2'"]
    assert found[24].startswith("error EXECABORT")
    assert found[28] == "[nil, OK]"


SAMPLES = """
GET k|SET k v NX PX 10 GET|SETNX k v|SETEX k 1 v|GETDEL k|GETEX k PX 1|APPEND k v|STRLEN k
INCR k|DECRBY k 2|INCRBYFLOAT k 1|SETRANGE k 0 v|GETRANGE k 0 1|SETBIT k 1 1|GETBIT k 1
BITCOUNT k|BITPOS k 1|BITFIELD k GET u8 0|BITFIELD_RO k GET u8 0|BITOP AND d a b|LCS a b
MGET a b c|MSET a 1 b 2|MSETNX a 1 b 2|DEL a b|UNLINK a b|EXISTS a b|TOUCH a b|TYPE k|DUMP k
RESTORE k 0 x|RENAME a b|RENAMENX a b|COPY a b REPLACE|EXPIRE k 1|PEXPIREAT k 1|PERSIST k
TTL k|PTTL k|EXPIRETIME k|OBJECT ENCODING k|SORT k ALPHA|SORT_RO k|SORT k STORE d
HSET k f v|HGET k f|HMGET k f g|HGETALL k|HDEL k f|HINCRBY k f 1|HSCAN k 0|HRANDFIELD k
LPUSH k v|RPOP k|LRANGE k 0 1|LPOS k v|LINSERT k BEFORE a b|LMOVE a b LEFT RIGHT
RPOPLPUSH a b|BRPOPLPUSH a b 1|BLMOVE a b LEFT RIGHT 1|BLPOP a b 0|BRPOP a b 0
LMPOP 2 a b LEFT|BLMPOP 0 2 a b LEFT
SADD k v|SREM k v|SPOP k|SMEMBERS k|SRANDMEMBER k|SMOVE a b v|SINTER a b|SUNION a b|SDIFF a b
SINTERSTORE d a b|SUNIONSTORE d a b|SDIFFSTORE d a b|SINTERCARD 2 a b|SMISMEMBER k v
ZADD k 1 v|ZREM k v|ZINCRBY k 1 v|ZPOPMIN k|ZRANGE k 0 1|ZRANGESTORE d k 0 1|ZSCORE k v
ZUNION 2 a b|ZINTER 2 a b|ZDIFF 2 a b|ZINTERCARD 2 a b|ZUNIONSTORE d 2 a b|ZINTERSTORE d 2 a b
ZDIFFSTORE d 2 a b|ZMPOP 2 a b MIN|BZMPOP 0 2 a b MIN|BZPOPMIN a b 0|BZPOPMAX a b 0
ZREMRANGEBYSCORE k 0 1|GEOADD k 1 1 m|GEODIST k a b|GEOSEARCH k FROMMEMBER m BYRADIUS 1 m
GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 m|GEORADIUS k 1 1 1 m|GEORADIUS_RO k 1 1 1 m
XADD k * f v|XLEN k|XRANGE k - +|XREAD COUNT 1 BLOCK 1 STREAMS a b 0 0|XTRIM k MAXLEN 1|XDEL k 1
XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >|XGROUP CREATE k g 0|XACK k g 1
XCLAIM k g c 0 1|XAUTOCLAIM k g c 0 0|XPENDING k g|XINFO STREAM k|XINFO GROUPS k
PFADD k v|PFCOUNT a b|PFMERGE d a b|WATCH a b|EVAL return 2 a b c|EVAL_RO return 1 a b
"""


WRITE_ONLY_WITH_STORE = {"georadius", "georadiusbymember", "sort"}


@pytest.mark.parametrize(
    "line", [line for row in SAMPLES.strip().splitlines() for line in row.split("|")]
)
def test_the_table_of_keys_is_never_below_the_servers(valkey: ValkeyServer, line: str) -> None:
    """``COMMAND GETKEYSANDFLAGS`` is what the server itself takes for keys."""
    words = line.split()
    with redis.Redis(port=valkey.port, decode_responses=True) as client:
        found = client.execute_command("COMMAND GETKEYSANDFLAGS", *words)
    arguments = [word.encode() for word in words]
    footprint = footprint_of(command_name(arguments), arguments, 0, Scripts())
    touched = {resource.name: mode for resource, mode in footprint.touches}
    for key, flags in found:
        mode = touched.pop(f"redis key {key}")
        # A script that only declares its keys may do anything with them.
        assert mode == "write" or "RO" in flags, (key, flags)
    assert all(name.startswith("redis script") for name in touched)


def test_every_command_of_the_server_is_known_exactly_or_unknown(valkey: ValkeyServer) -> None:
    """A command that writes keys by the server's word is never taken to touch nothing."""
    with redis.Redis(port=valkey.port, decode_responses=True) as client:
        commands = client.execute_command("COMMAND")
    wrong = []
    for name, command in commands.items():
        line = [name, *["1"] * (abs(command["arity"]) + 2)]
        (event,) = RespFraming().receive_client(" ".join(line).encode() + b"\r\n")
        if isinstance(event, RedisRequest) and "write" in command["flags"]:
            modes = [mode for _, mode in event.footprint.touches]
            if event.footprint.is_known and "write" not in modes:
                wrong.append(name)
    assert set(wrong) == WRITE_ONLY_WITH_STORE
