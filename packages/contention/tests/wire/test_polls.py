"""Who asks the same again and again is told from who goes on."""

from contention.model.footprints import Footprint, reads, writes
from contention.wire.polls import Asked, PollMemory, looks, touched_by
from contention.wire.redis import RespFraming
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.redis_scripts import Scripts

KEY = "redis key lock"


def asked(
    text: str, reply: str = "nil", footprint: Footprint | None = None, *, looks: bool = True
) -> Asked:
    return Asked(text, RedisReply(reply), footprint or reads(KEY), looks)


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


def test_polls_in_vain_have_only_looked_whoever_came_in_between() -> None:
    memory = PollMemory()
    seen = []
    for _ in range(2):
        memory.disturbed_by(writes(KEY))
        memory.remember(asked("EVAL take", "0", writes(KEY)))
        seen.append(memory.has_only_looked)
    assert seen == [False, True]
    assert not memory.is_repeated_by("EVAL take")


def test_a_repetition_with_a_change_in_it_has_not_only_looked() -> None:
    memory = PollMemory()
    for _ in range(2):
        memory.remember(asked("BEGIN"))
        memory.remember(asked("UPDATE", "1", writes(KEY), looks=False))
        memory.remember(asked("COMMIT"))
    assert memory.period == 3
    assert not memory.has_only_looked


def test_a_script_that_says_yes_may_have_written() -> None:
    release = command(b"EVAL", b"return redis.call('del', KEYS[1])", b"1", b"lock")
    assert not looks(release, release.text, "1")
    assert looks(release, release.text, "0")
    assert looks(command(b"GET", b"lock"), "GET lock", "'me'")


def test_a_set_that_finds_the_key_has_only_read_it() -> None:
    taken = command(b"SET", b"lock", b"me", b"NX", b"PX", b"1000")
    assert touched_by(taken, RedisReply("nil")) == reads(KEY)
    assert touched_by(taken, RedisReply("OK")) == writes(KEY)
    assert touched_by(command(b"SETNX", b"lock", b"me"), RedisReply("0")) == reads(KEY)


def test_a_set_that_tells_the_old_value_or_a_string_that_says_nil_has_written() -> None:
    told = command(b"SET", b"lock", b"me", b"NX", b"GET")
    assert touched_by(told, RedisReply("nil")) == writes(KEY)
    assert touched_by(command(b"SET", b"lock", b"me"), RedisReply("nil")) == writes(KEY)
