"""Who asks the same again and again is told from who goes on."""

from contention.model.footprints import Footprint, reads, writes
from contention.wire.polls import Asked, PollMemory, touched_by
from contention.wire.redis import RespFraming
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.redis_scripts import Scripts

KEY = "redis key lock"


def asked(text: str, reply: str = "nil", footprint: Footprint | None = None) -> Asked:
    return Asked(text, RedisReply(reply), footprint or reads(KEY), looks=True)


def command(*words: bytes) -> RedisRequest:
    data = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
    (request,) = RespFraming(Scripts()).receive_client(data)
    assert isinstance(request, RedisRequest)
    return request


def test_the_third_time_of_one_request_with_one_answer_is_a_poll() -> None:
    memory = PollMemory()
    memory.remember(asked("GET lock"))
    assert not memory.is_repeated_by("GET lock")
    memory.remember(asked("GET lock"))
    assert memory.is_repeated_by("GET lock")
    assert not memory.is_repeated_by("GET other")


def test_another_answer_makes_it_a_request_like_others() -> None:
    memory = PollMemory()
    memory.remember(asked("GET lock", "'a'"))
    memory.remember(asked("GET lock", "nil"))
    assert not memory.is_repeated_by("GET lock")


def test_several_requests_in_turn_are_one_poll() -> None:
    memory = PollMemory()
    for _ in range(2):
        for text in ("BEGIN", "SELECT", "COMMIT"):
            memory.remember(asked(text))
    assert memory.period == 3
    assert memory.is_repeated_by("BEGIN")
    assert not memory.is_repeated_by("SELECT")


def test_somebody_who_touches_what_is_asked_about_ends_the_poll() -> None:
    memory = PollMemory()
    for _ in range(3):
        memory.remember(asked("GET lock"))
    memory.disturbed_by(writes("redis key other"))
    assert memory.is_repeated_by("GET lock")
    memory.disturbed_by(writes(KEY))
    assert not memory.is_repeated_by("GET lock")


def test_a_set_that_finds_the_key_has_only_read_it() -> None:
    taken = command(b"SET", b"lock", b"me", b"NX", b"PX", b"1000")
    assert touched_by(taken, RedisReply("nil")) == reads(KEY)
    assert touched_by(taken, RedisReply("OK")) == writes(KEY)
    assert touched_by(command(b"SETNX", b"lock", b"me"), RedisReply("0")) == reads(KEY)


def test_a_set_that_tells_the_old_value_or_a_string_that_says_nil_has_written() -> None:
    told = command(b"SET", b"lock", b"me", b"NX", b"GET")
    assert touched_by(told, RedisReply("nil")) == writes(KEY)
    assert touched_by(command(b"SET", b"lock", b"me"), RedisReply("nil")) == writes(KEY)
