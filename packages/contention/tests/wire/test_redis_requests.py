from decimal import Decimal
from typing import Any

import pytest

from contention.model.footprints import NOTHING, UNKNOWN, Footprint, Resource, reads, writes
from contention.wire.events import Forward, Refused, ReplyEnd, ReplyPart, Side, UnknownMessage
from contention.wire.redis import RespFraming
from contention.wire.redis_commands import RedisKind
from contention.wire.redis_lifecycle import ClientState
from contention.wire.redis_requests import Push, RedisRequest


def command(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def ask(framing: RespFraming, line: str | bytes) -> RedisRequest:
    data = command(*line.split()) if isinstance(line, str) else line
    (request,) = framing.receive_client(data)
    assert isinstance(request, RedisRequest), request
    assert request.data == data
    return request


def send(framing: RespFraming, *lines: str) -> list[RedisRequest]:
    requests = [ask(framing, line) for line in lines]
    for request in requests:
        framing.release(request)
    return requests


def replies(framing: RespFraming, data: bytes) -> list[tuple[int, str]]:
    events = framing.receive_server(data)
    return [(one.number, one.reply.text) for one in events if isinstance(one, ReplyEnd)]


def array(*words: str) -> bytes:
    return command(*words)


def test_each_command_of_a_pipeline_has_its_reply() -> None:
    framing = RespFraming()
    events = framing.receive_client(command("SET", "a", "1") + command("GET", "a") + b"PING\r\n")
    assert [one.name for one in events if isinstance(one, RedisRequest)] == ["SET", "GET", "PING"]
    for event in events:
        assert isinstance(event, RedisRequest)
        framing.release(event)
    assert replies(framing, b"+OK\r\n$1\r\n1\r\n+PONG\r\n") == [(1, "OK"), (2, "'1'"), (3, "PONG")]
    assert not framing.is_awaiting_reply


def test_commands_queued_by_multi_touch_nothing_and_exec_touches_everything() -> None:
    framing = RespFraming()
    watch, multi, get, incr, execute = send(framing, "WATCH w", "MULTI", "GET a", "INCR b", "EXEC")
    assert watch.footprint == reads("redis key w")
    assert multi.footprint == get.footprint == incr.footprint == NOTHING
    assert (get.kind, get.is_queued) == (RedisKind.TRANSACTION, True)
    assert execute.footprint == reads("redis key w", "redis key a").joined([writes("redis key b")])
    assert execute.kind is RedisKind.DATA
    found = replies(framing, b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$-1\r\n:1\r\n")
    assert found[-1] == (5, "[nil, 1]")


def test_a_discarded_transaction_touches_nothing_and_watches_no_more() -> None:
    framing = RespFraming()
    *_, discard, _, execute = send(
        framing, "WATCH w", "MULTI", "SET a 1", "DISCARD", "MULTI", "EXEC"
    )
    assert discard.footprint == execute.footprint == NOTHING


def test_an_unknown_command_in_a_transaction_makes_exec_unknown() -> None:
    *_, execute = send(RespFraming(), "MULTI", "GET a", "NOSUCH b", "EXEC")
    assert not execute.footprint.is_known


def test_a_database_is_part_of_a_keys_name_once_it_is_certain() -> None:
    framing = RespFraming()
    send(framing, "SELECT 3")
    (uncertain,) = send(framing, "GET a")
    assert uncertain.footprint == UNKNOWN
    framing.receive_server(b"+OK\r\n$-1\r\n")
    (certain,) = send(framing, "GET a")
    assert certain.footprint == reads("redis key a in database 3")
    framing.receive_server(b"$-1\r\n")
    send(framing, "SELECT 99")
    framing.receive_server(b"-ERR DB index is out of range\r\n")
    assert send(framing, "GET a")[0].footprint == reads("redis key a in database 3")


@pytest.mark.parametrize(
    "lines", [["MULTI", "SELECT 3", "EXEC"], ["CLIENT REPLY SKIP", "SELECT 3"]]
)
def test_a_database_that_was_chosen_without_a_reply_is_never_certain(lines: list[str]) -> None:
    framing = RespFraming()
    send(framing, *lines)
    framing.receive_server(b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n" if "EXEC" in lines else b"")
    assert send(framing, "GET a")[0].footprint == UNKNOWN


def test_client_reply_off_and_skip_leave_commands_without_a_reply() -> None:
    framing = RespFraming()
    skip, skipped, answered = (ask(framing, x) for x in ("CLIENT REPLY SKIP", "SET a 1", "GET a"))
    for request in (skip, skipped):
        (end,) = framing.release(request)
        assert isinstance(end, ReplyEnd)
        assert end.reply.is_skipped
    assert framing.release(answered) == []
    assert replies(framing, b"$1\r\n1\r\n") == [(3, "'1'")]
    send(framing, "CLIENT REPLY OFF", "SET a 2", "MULTI", "GET a", "EXEC", "CLIENT REPLY ON")
    assert replies(framing, b"+OK\r\n") == [(9, "OK")]


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (["MONITOR"], "MONITOR"),
        (["PSYNC ? -1"], "PSYNC"),
        (["MULTI", "SUBSCRIBE a"], "SUBSCRIBE"),
        (["MULTI", "CLIENT REPLY OFF"], "CLIENT REPLY"),
        (["CLIENT REPLY OFF", "SUBSCRIBE a"], "SUBSCRIBE"),
    ],
)
def test_a_command_whose_replies_cannot_be_counted_is_refused(
    lines: list[str], refused: str
) -> None:
    framing = RespFraming()
    send(framing, *lines[:-1])
    (event,) = framing.receive_client(command(*lines[-1].split()))
    assert isinstance(event, Refused)
    assert event.what == refused
    assert framing.receive_client(command("PING")) == [event]


def test_a_subscription_is_confirmed_channel_by_channel() -> None:
    framing = RespFraming()
    send(framing, "SUBSCRIBE a b")
    first, message, last = framing.receive_server(
        array("subscribe", "a", "1") + array("message", "a", "x") + array("subscribe", "b", "2")
    )
    assert isinstance(first, ReplyPart)
    assert message == Push(array("message", "a", "x"), "['message', 'a', 'x']")
    assert isinstance(last, ReplyEnd)
    assert last.number == 1


def test_messages_come_without_a_request_while_something_is_subscribed() -> None:
    framing = RespFraming()
    send(framing, "PSUBSCRIBE n*")
    framing.receive_server(array("psubscribe", "n*", "1"))
    (message,) = framing.receive_server(array("pmessage", "n*", "news", "hello"))
    assert isinstance(message, Push)
    send(framing, "PING")
    answers = framing.receive_server(array("pmessage", "n*", "news", "2") + array("pong", ""))
    assert [type(one) for one in answers] == [Push, ReplyEnd]


def test_unsubscribing_from_everything_is_confirmed_for_each_or_once_for_none() -> None:
    framing = RespFraming()
    send(framing, "UNSUBSCRIBE")
    assert len(replies(framing, b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n")) == 1
    send(framing, "SUBSCRIBE a b", "PSUBSCRIBE p", "UNSUBSCRIBE", "PUNSUBSCRIBE", "GET k")
    answer = [("subscribe", "a"), ("subscribe", "b"), ("psubscribe", "p")]
    answer += [("unsubscribe", "b"), ("unsubscribe", "a"), ("punsubscribe", "p")]
    data = b"".join(array(name, channel, "0") for name, channel in answer)
    assert [number for number, _ in replies(framing, data)] == [2, 3, 4, 5]
    # An ordinary reply that looks like a message is a reply again.
    assert len(replies(framing, array("message", "a", "x"))) == 1


def test_pushes_of_resp3_are_never_replies() -> None:
    framing = RespFraming()
    send(framing, "HELLO 3")
    framing.receive_server(b"%1\r\n+proto\r\n:3\r\n")
    assert framing.protocol == 3
    send(framing, "SUBSCRIBE a", "GET k")
    push = b">3\r\n+subscribe\r\n+a\r\n:1\r\n"
    message = b">3\r\n+message\r\n+a\r\n+x\r\n"
    events = framing.receive_server(push + message + b"$1\r\nv\r\n" + message)
    assert [type(one) for one in events] == [ReplyEnd, Push, ReplyEnd, Push]


def test_reset_ends_everything_that_the_connection_was_in() -> None:
    framing = RespFraming()
    send(framing, "HELLO 3", "SUBSCRIBE a", "MULTI", "RESET", "GET k")
    framing.receive_server(b"%0\r\n>3\r\n+subscribe\r\n+a\r\n:1\r\n+OK\r\n+RESET\r\n$-1\r\n")
    assert not framing.is_awaiting_reply
    assert (framing.protocol, framing.client_state) == (2, ClientState.COMMANDS)


def test_a_server_that_speaks_without_being_asked_is_unknown_unless_it_complains() -> None:
    framing = RespFraming()
    (complaint,) = framing.receive_server(b"-ERR max number of clients reached\r\n")
    assert complaint == Push(
        b"-ERR max number of clients reached\r\n", "error ERR max number of clients reached"
    )
    (event,) = framing.receive_server(b"+OK\r\n")
    assert event == UnknownMessage(Side.SERVER, "byte 0x2b ('+')", "owing nothing")


def test_a_server_that_closes_loses_the_replies_it_owed() -> None:
    framing = RespFraming()
    send(framing, "SET a 1", "GET a")
    ends = framing.close_server()
    assert [one.reply.is_lost for one in ends if isinstance(one, ReplyEnd)] == [True, True]


def test_an_empty_command_passes_and_gets_no_reply() -> None:
    assert RespFraming().receive_client(b"\r\n*0\r\n") == [Forward(b"\r\n"), Forward(b"*0\r\n")]


def test_passwords_are_not_shown() -> None:
    framing = RespFraming()
    shown = [one.text for one in send(framing, "AUTH me secret", "HELLO 3 AUTH me secret")]
    shown += [one.text for one in send(framing, "CONFIG SET requirepass secret")]
    assert "secret" not in " ".join(shown)
    assert shown[1] == "HELLO 3 AUTH ***"


def test_texts_are_bounded() -> None:
    request = ask(RespFraming(), command("MSET", *["x" * 1000] * 1000))
    assert len(request.text) < 2000
    assert request.text.endswith("…")


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("BLPOP a b 0", "0"),
        ("BRPOP a 1.5", "1.5"),
        ("BLMOVE a b LEFT RIGHT 2", "2"),
        ("BZPOPMIN z 3", "3"),
        ("BLMPOP 4 1 a LEFT", "4"),
        ("XREAD COUNT 1 BLOCK 250 STREAMS s 0", "0.25"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "0"),
        ("WAIT 1 100", "0.1"),
        ("XREAD STREAMS BLOCK 0", None),
        ("LPOP a", None),
        ("GET a", None),
    ],
)
def test_a_command_that_may_wait_says_how_long(line: str, seconds: str | None) -> None:
    expected = None if seconds is None else Decimal(seconds)
    request = ask(RespFraming(), line)
    assert (request.block_seconds, request.may_wait) == (expected, expected is not None)


def test_a_queued_command_does_not_wait() -> None:
    assert send(RespFraming(), "MULTI", "BLPOP a 0")[1].block_seconds is None


def footprint(line: str) -> Footprint:
    return ask(RespFraming(), line).footprint


def test_channels_conflict_between_publishers_and_subscribers() -> None:
    assert footprint("PUBLISH news x").conflicts_with(footprint("SUBSCRIBE news"))
    assert not footprint("PUBLISH news x").conflicts_with(footprint("SUBSCRIBE other"))
    assert footprint("PSUBSCRIBE n*") == UNKNOWN
    assert footprint("SUBSCRIBE __keyspace@0__:a") == UNKNOWN


@pytest.mark.parametrize(
    "line",
    [
        "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "DBSIZE", "RANDOMKEY", "SWAPDB 0 1", "MOVE a 1",
        "COPY a b DB 3", "SORT a BY w_*", "SORT a GET x_*", "GEORADIUS g 1 1 1 m STORE d",
        "FCALL f 0", "EVAL x y", "EVAL x 3 a", "INFO", "TIME", "CONFIG GET x", "JSON.SET a b c",
        "CLIENT KILL a", "CLIENT TRACKING ON", "SCRIPT FLUSH", "MIGRATE h 1 k 0 1", "XREAD NEW 1",
        "ZUNIONSTORE d x a", "SHUTDOWN", "DEBUG SLEEP 1",
    ],
)  # fmt: skip
def test_what_is_not_certain_is_unknown(line: str) -> None:
    assert not footprint(line).is_known


LOCK_RELEASE = b"""
    local token = redis.call('get', KEYS[1])
    if not token or token ~= ARGV[1] then
        return 0
    end
    redis.call('del', KEYS[1])
    return 1
"""


def test_a_script_in_plain_sight_writes_its_declared_key_alone() -> None:
    framing = RespFraming()
    (load,) = framing.receive_client(command("SCRIPT", "LOAD", LOCK_RELEASE))
    assert isinstance(load, RedisRequest)
    ((script, _),) = load.footprint.touches
    sha = script.name.rpartition(" ")[2]
    run = ask(framing, f"EVALSHA {sha.upper()} 1 lock:a token")
    assert run.footprint.is_known
    assert run.footprint.touches[0] == (Resource("redis key lock:a"), "write")
    assert run.footprint.conflicts_with(load.footprint)
    assert not run.footprint.conflicts_with(ask(framing, f"EVALSHA {sha} 1 lock:b t").footprint)


@pytest.mark.parametrize(
    "script",
    [
        b"return redis.call('get', ARGV[1])",
        b"return redis.call('get', 'stock')",
        b"return redis.call('get', KEYS[1] .. 'x')",
        b"return redis.call('del', KEYS[1], ARGV[1])",
        b"return redis.call('mset', KEYS[1], 1, ARGV[1], 2)",
        b"return redis.call('keys', KEYS[1])",
        b"return redis.call(ARGV[1], KEYS[1])",
        b"return redis['call']('get', KEYS[1])",
        b"local call = redis.call return call('get', ARGV[1])",
        b"KEYS[1] = ARGV[1] return redis.call('get', KEYS[1])",
        b"local k = KEYS k[1] = 'x' return redis.call('get', KEYS[1])",
        b"return _G['re' .. 'dis'].call('get', 'x')",
        b"return loadstring(ARGV[1])()",
        b"return redis.call('get', KEYS[1]) -- redis.call('get', 'x')",
        b"return server.call('flushall')",
    ],
)
def test_a_script_that_hides_what_it_touches_is_unknown(script: bytes) -> None:
    request = ask(RespFraming(), command("EVAL", script, "1", "a", "b"))
    assert not request.footprint.is_known
    assert (Resource("redis key a"), "write") in request.footprint.touches


def test_a_script_that_was_loaded_out_of_sight_is_unknown() -> None:
    assert not footprint(f"EVALSHA {'0' * 40} 1 a").is_known


def test_requests_are_released_in_their_order() -> None:
    framing = RespFraming()
    events: list[Any] = framing.receive_client(command("PING") * 2)
    with pytest.raises(ValueError, match="request 1 is next, not 2"):
        framing.release(events[1])
