"""Which limits a connection waits under, from what passes on it."""

import pytest

from contention.wire.postgres import PostgresFraming
from contention.wire.time_limits import LaneLimits, Limits

from .wire_bytes import (
    BOUND,
    PARSED,
    SYNC,
    bind,
    complete,
    error,
    execute,
    logged_in,
    message,
    parse,
    query,
    ready,
    requests_of,
)

NO_LIMITS = Limits()


def passed(limits: LaneLimits, framing: PostgresFraming, request: bytes, answer: bytes) -> None:
    for one in requests_of(framing, request):
        framing.release(one)
        for event in framing.receive_server(answer):
            limits.answered(one, event.reply)  # type: ignore[union-attr]


def after(*exchanges: tuple[str, str, str], **start_up: str) -> Limits | None:
    """The limits after statements, each with the tag and status that answer it."""
    limits, framing = LaneLimits(), logged_in()
    limits.begin({"lock_timeout": 7}, start_up)
    for sql, tag, status in exchanges:
        told = error("something else") if tag == "ERROR" else complete(tag)
        passed(limits, framing, query(sql), told + ready(status))
    return limits.now


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("250", 250),
        ("'250'", 250),
        ("'2s'", 2000),
        ("'1.5 s'", 1500),
        ("'100us'", 0),
        ("'2 min'", 120_000),
        ("'1h'", 3_600_000),
        ("'1d'", 86_400_000),
        ("0", 0),
        ("DEFAULT", 7),
    ],
)
def test_times_are_read_as_the_server_reads_them(value: str, milliseconds: int) -> None:
    assert after((f"SET lock_timeout TO {value}", "SET", "I")) == Limits(milliseconds)


BEGIN, COMMIT = ("BEGIN", "BEGIN", "T"), ("COMMIT", "COMMIT", "I")
FIVE = ("SET lock_timeout = 5", "SET", "T")
LOCAL = ("SET LOCAL lock_timeout = 3", "SET", "T")


@pytest.mark.parametrize(
    ("exchanges", "expected"),
    [
        ([], Limits(7)),
        ([BEGIN, LOCAL], Limits(3)),
        ([BEGIN, LOCAL, COMMIT], Limits(7)),
        ([BEGIN, FIVE, COMMIT], Limits(5)),
        ([BEGIN, FIVE, LOCAL], Limits(3)),
        ([BEGIN, LOCAL, FIVE], Limits(5)),
        ([BEGIN, FIVE, LOCAL, COMMIT], Limits(5)),
        ([BEGIN, FIVE, ("ROLLBACK", "ROLLBACK", "I")], Limits(7)),
        ([BEGIN, FIVE, ("COMMIT", "ROLLBACK", "I")], Limits(7)),
        ([("SET LOCAL lock_timeout = 3", "SET", "I")], Limits(7)),
        ([("SET lock_timeout = 5", "ERROR", "I")], Limits(7)),
        ([("SET lock_timeout = 5", "SET", "I"), ("RESET ALL", "RESET", "I")], Limits(7)),
        ([("SET lock_timeout = 5", "SET", "I"), ("DISCARD ALL", "DISCARD ALL", "I")], Limits(7)),
        ([("SET SESSION statement_timeout = '2s' -- why", "SET", "I")], Limits(7, 2000)),
        ([("SHOW lock_timeout", "SHOW", "I")], Limits(7)),
    ],
)
def test_a_setting_lasts_as_long_as_its_transaction_says(
    exchanges: list[tuple[str, str, str]], expected: Limits
) -> None:
    assert after(*exchanges) == expected


@pytest.mark.parametrize(
    "exchanges",
    [
        [BEGIN, FIVE, ("ROLLBACK TO here", "ROLLBACK", "T")],
        [BEGIN, FIVE, ("COMMIT AND CHAIN", "COMMIT", "T")],
        [("SET lock_timeout = 5; COMMIT", "COMMIT", "I")],
        [("SET lock_timeout = '5 fortnights'", "SET", "I")],
        [("SET transaction_timeout = 5", "SET", "I")],
        [("SELECT set_config(name, '5', false) FROM names", "SELECT 1", "I")],
        [("DO $$ BEGIN SET lock_timeout = 5; END $$", "DO", "I")],
    ],
)
def test_what_cannot_be_read_is_not_known(exchanges: list[tuple[str, str, str]]) -> None:
    assert after(*exchanges) is None


def test_set_config_is_read_with_its_bound_values() -> None:
    limits, framing = LaneLimits(), logged_in()
    sql = "SELECT set_config($1, $2, $3)"
    request = parse(sql, oids=(25, 25, 16)) + bind(b"lock_timeout", b"9s", b"f") + execute() + SYNC
    answer = PARSED + BOUND + message("D", bytes(2)) + complete("SELECT 1") + ready()
    passed(limits, framing, request, answer)
    assert limits.now == Limits(9000)


@pytest.mark.parametrize(
    ("start_up", "expected"),
    [
        ({"lock_timeout": "900"}, Limits(900)),
        ({"options": "-c lock_timeout=9s --statement-timeout=5000"}, Limits(9000, 5000)),
        ({"options": r"-c lock_timeout=9\ s -c geqo=off"}, Limits(9000)),
        ({"options": "lock_timeout"}, None),
        ({"user": "somebody"}, Limits(7)),
    ],
)
def test_what_a_client_asks_for_when_it_connects_counts(
    start_up: dict[str, str], expected: Limits | None
) -> None:
    assert after(**start_up) == expected
