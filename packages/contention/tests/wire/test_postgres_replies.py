from typing import Any

import pytest

from contention.wire.events import ReplyEnd, ReplyPart, Side, UnknownMessage
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_messages import Notification, ParameterStatus
from contention.wire.postgres_requests import LogInPart, PostgresReply, SessionReady, Unprompted

from .wire_bytes import (
    BOUND,
    CLOSED,
    COPY_DONE,
    FLUSH,
    LOG_IN,
    NO_DATA,
    PARSED,
    START_UP,
    SYNC,
    bind,
    close,
    columns,
    complete,
    describe,
    error,
    execute,
    fields,
    logged_in,
    message,
    parameters,
    parse,
    query,
    ready,
    released,
    requests_of,
    row,
    status,
)

INT4 = 23
COPY_IN, COPY_OUT, COPY_BOTH = (message(letter, b"\0\0\0") for letter in "GHW")


def replies(framing: PostgresFraming, data: bytes) -> dict[int, PostgresReply]:
    ends = [one for one in framing.receive_server(data) if isinstance(one, ReplyEnd)]
    return {one.number: one.reply for one in ends}


def ends_with_its_last_byte(framing: PostgresFraming, data: bytes) -> PostgresReply:
    """The reply, which must not end before the last byte of ``data``."""
    early = framing.receive_server(data[:-1])
    assert not [one for one in early if not isinstance(one, ReplyPart)]
    (end,) = framing.receive_server(data[-1:])
    assert isinstance(end, ReplyEnd)
    assert not framing.is_awaiting_reply
    parts: list[Any] = [*early, end]
    assert b"".join(part.data for part in parts) == data
    return end.reply


def test_log_in_ends_with_the_first_ready_and_names_the_backend() -> None:
    framing = PostgresFraming()
    framing.receive_client(START_UP)
    assert framing.receive_server(LOG_IN[:30]) == [LogInPart(LOG_IN[:9])]
    assert framing.receive_server(LOG_IN[30:]) == [SessionReady(LOG_IN[9:], 4711, b"key4")]
    assert framing.parameters["client_encoding"] == "UTF8"
    assert framing.transaction_status == "I"


def test_an_error_during_log_in_is_told() -> None:
    framing = PostgresFraming()
    framing.receive_client(START_UP)
    (event,) = framing.receive_server(error("28P01", "no such password", "FATAL"))
    assert isinstance(event, Unprompted)
    assert getattr(event.content, "ends_connection", False)


def test_a_query_ends_with_ready() -> None:
    framing = logged_in()
    released(framing, query("SELECT 1; UPDATE t SET a = 1"))
    reply = ends_with_its_last_byte(
        framing,
        columns(("a", INT4), ("b", 25))
        + row(b"1", b"x")
        + row(b"2", None)
        + complete("SELECT 2")
        + complete("UPDATE 7")
        + ready("T"),
    )
    assert reply.transaction_status == framing.transaction_status == "T"
    assert reply.tags == ("SELECT 2", "UPDATE 7")
    assert reply.results[0].rows() == (("1", "'x'"), ("2", "NULL"))
    assert (reply.results[0].row_count, reply.results[1].row_count) == (2, 0)


def test_a_flush_ends_with_the_answer_to_each_message() -> None:
    framing = logged_in()
    released(framing, parse("SELECT $1", "s") + describe("S", "s") + FLUSH)
    reply = ends_with_its_last_byte(framing, PARSED + parameters(INT4) + columns(("a", INT4)))
    assert reply == PostgresReply()


@pytest.mark.parametrize(
    ("run", "answer"),
    [
        (parse("x"), PARSED),
        (parse("x") + describe("S"), PARSED + parameters() + NO_DATA),
        (bind(), BOUND),
        (bind() + describe("P"), BOUND + columns(("a", INT4))),
        (close("S") + close("P"), CLOSED + CLOSED),
        (bind() + execute(), BOUND + row(b"1") + complete("SELECT 1")),
        (bind() + execute(limit=1), BOUND + row(b"1") + message("s")),
        (bind() + execute(), BOUND + message("I")),
        (bind() + execute(), BOUND + COPY_OUT + message("d") + COPY_DONE + complete("COPY 1")),
        (parse("x") + bind() + execute(), PARSED + BOUND + error()),
        (parse("x") + bind() + execute(), error()),
    ],
)
def test_every_run_ends_where_its_answers_end(run: bytes, answer: bytes) -> None:
    framing = logged_in()
    released(framing, run + FLUSH)
    assert ends_with_its_last_byte(framing, answer).transaction_status is None
    framing = logged_in()
    released(framing, run + SYNC)
    assert ends_with_its_last_byte(framing, answer + ready()).transaction_status == "I"


def test_after_an_error_everything_up_to_sync_is_skipped() -> None:
    framing = logged_in()
    first, second, third = released(
        framing,
        parse("a") + bind() + FLUSH + parse("b") + FLUSH + parse("c") + bind() + SYNC,
    )
    found = replies(framing, error())
    assert set(found) == {first.number, second.number}
    assert not found[1].is_skipped
    assert found[2].is_skipped
    assert replies(framing, ready())[third.number].transaction_status == "I"


def test_what_is_sent_after_an_error_without_sync_is_never_answered() -> None:
    framing = logged_in()
    released(framing, parse("a") + FLUSH)
    framing.receive_server(error())
    (late, ignored, last) = requests_of(framing, parse("b") + FLUSH + query("SELECT 1") + SYNC)
    (end,) = framing.release(late)
    assert isinstance(end, ReplyEnd)
    assert end.reply.is_skipped
    (end,) = framing.release(ignored)
    assert isinstance(end, ReplyEnd)
    assert end.reply.is_skipped
    assert framing.release(last) == []
    assert replies(framing, ready("I")) == {4: PostgresReply("I")}


def test_several_syncs_in_one_write_have_a_reply_each() -> None:
    framing = logged_in()
    released(framing, (parse("x") + bind() + execute() + SYNC) * 3)
    failed = PARSED + error("40P01", "deadlock detected") + ready()
    good = PARSED + BOUND + complete("SELECT 0") + ready()
    events = framing.receive_server(failed + good + good)
    assert [getattr(one, "data", b"") for one in events] == [failed, good, good]
    first = events[0]
    assert isinstance(first, ReplyEnd)
    assert first.reply.error is not None
    assert first.reply.error.sqlstate == "40P01"


def test_an_error_at_sync_itself_still_waits_for_ready() -> None:
    framing = logged_in()
    released(framing, bind() + execute() + SYNC)
    answer = BOUND + complete("INSERT 0 1") + error("23503", "deferred") + ready()
    assert ends_with_its_last_byte(framing, answer).error is not None


def test_an_error_carries_the_servers_fields() -> None:
    framing = logged_in()
    released(framing, query("x"))
    detail = "Process 1 waits for ShareLock on transaction 2; blocked by process 3."
    answer = fields("E", S="FEHLER", V="ERROR", C="40P01", M="deadlock detected", D=detail, t="t")
    reply = ends_with_its_last_byte(framing, answer + ready("E"))
    assert reply.error is not None
    assert (reply.error.severity, reply.error.detail, reply.error.table) == ("ERROR", detail, "t")


def test_notices_and_notifications_inside_a_reply_belong_to_it() -> None:
    framing = logged_in()
    released(framing, query("x"))
    notification = message("A", b"\0\0\0\x09" + b"news\0hello\0")
    answer = fields("N", S="NOTICE", M="look") + complete("DO") + notification + ready()
    reply = ends_with_its_last_byte(framing, answer)
    assert [notice.message for notice in reply.notices] == ["look"]
    assert reply.notifications == (Notification(9, "news", "hello"),)


def test_messages_between_requests_are_unprompted() -> None:
    framing = logged_in()
    notification = message("A", b"\0\0\0\x09" + b"news\0hello\0")
    changed = status("TimeZone", "UTC")
    assert framing.receive_server(notification + changed) == [
        Unprompted(notification, Notification(9, "news", "hello")),
        Unprompted(changed, ParameterStatus("TimeZone", "UTC")),
    ]


def test_an_error_while_a_request_is_held_is_not_its_reply() -> None:
    framing = logged_in()
    requests_of(framing, query("UPDATE t SET a = 1"))
    (event,) = framing.receive_server(error("25P03", "idle in transaction", "FATAL"))
    assert isinstance(event, Unprompted)


def test_a_server_that_closes_loses_the_replies_it_owed() -> None:
    framing = logged_in()
    released(framing, query("COMMIT") + query("SELECT 1"))
    framing.receive_server(error("57P01", "terminating", "FATAL"))
    ends = framing.close_server()
    assert [(end.number, end.reply.is_lost) for end in ends if isinstance(end, ReplyEnd)] == [
        (1, True),
        (2, True),
    ]


def test_a_copy_in_ends_its_query_when_the_server_waits_for_rows() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN; SELECT 1"))
    assert ends_with_its_last_byte(framing, COPY_IN).awaits_copy
    released(framing, message("d", b"1\n") + COPY_DONE)
    answer = complete("COPY 1") + columns(("a", INT4)) + row(b"1") + complete("SELECT 1")
    assert ends_with_its_last_byte(framing, answer + ready()).tags == ("COPY 1", "SELECT 1")


def test_the_sync_behind_an_execute_that_copies_is_ignored_by_the_server() -> None:
    framing = logged_in()
    released(framing, parse("COPY t FROM STDIN") + bind() + execute() + SYNC)
    assert ends_with_its_last_byte(framing, PARSED + BOUND + COPY_IN).awaits_copy
    released(framing, message("d", b"1\n") + COPY_DONE + SYNC)
    assert ends_with_its_last_byte(framing, complete("COPY 1") + ready()).tags == ("COPY 1",)


def test_rows_that_are_sent_before_the_copy_began_are_its_rows_or_ignored() -> None:
    framing = logged_in()
    _, rows = released(framing, query("COPY t FROM STDIN") + message("d") + COPY_DONE)
    found = replies(framing, COPY_IN + complete("COPY 0") + ready())
    assert found[rows.number].tags == ("COPY 0",)
    framing = logged_in()
    released(framing, query("COPY nothing FROM STDIN") + message("d") + COPY_DONE)
    found = replies(framing, error("42P01", "no such table") + ready())
    assert found[2].is_skipped


def test_a_copy_that_times_out_while_the_client_thinks_is_over() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN"))
    framing.receive_server(COPY_IN)
    first, second = framing.receive_server(error("57014", "time-out") + ready("E"))
    assert isinstance(first, Unprompted)
    assert isinstance(second, Unprompted)
    (late,) = requests_of(framing, message("d") + COPY_DONE)
    (end,) = framing.release(late)
    assert isinstance(end, ReplyEnd)
    assert end.reply.is_skipped
    released(framing, query("ROLLBACK"))
    assert replies(framing, complete("ROLLBACK") + ready())[3].tags == ("ROLLBACK",)


def test_a_failed_copy_for_execute_is_ended_by_its_sync() -> None:
    framing = logged_in()
    released(framing, parse("COPY t FROM STDIN") + bind() + execute() + SYNC)
    framing.receive_server(PARSED + BOUND + COPY_IN)
    released(framing, message("f", b"stop\0") + SYNC)
    reply = ends_with_its_last_byte(framing, error("57014", "COPY failed") + ready())
    assert reply.error is not None


def test_a_two_way_copy_passes_both_ways_until_both_are_done() -> None:
    framing = logged_in()
    released(framing, query("START_REPLICATION SLOT s LOGICAL 0/0"))
    assert ends_with_its_last_byte(framing, COPY_BOTH).awaits_copy
    change = message("d", b"change")
    assert framing.receive_server(change) == [Unprompted(change, None)]
    (update,) = requests_of(framing, message("d", b"status"))
    (end,) = framing.release(update)
    assert isinstance(end, ReplyEnd)
    assert end.reply.is_skipped
    released(framing, COPY_DONE)
    answer = change + COPY_DONE + complete("COPY 0") + ready()
    assert ends_with_its_last_byte(framing, answer).tags == ("COPY 0",)


def test_discard_all_forgets_prepared_statements() -> None:
    framing = logged_in()
    released(framing, parse("SELECT 1", "s") + SYNC)
    framing.receive_server(PARSED + ready())
    released(framing, query("DISCARD ALL"))
    framing.receive_server(complete("DISCARD ALL") + ready())
    assert requests_of(framing, bind(name="s") + execute() + SYNC)[0].texts == ()


def test_results_are_shown_by_the_description_that_was_made_when_preparing() -> None:
    framing = logged_in()
    released(framing, parse("SELECT 1", "s") + describe("S", "s") + FLUSH)
    framing.receive_server(PARSED + parameters() + columns(("a", INT4)))
    released(framing, bind(name="s", binary_result=True) + execute() + SYNC)
    found = replies(framing, BOUND + row(b"\0\0\0\x2a") + complete("SELECT 1") + ready())
    assert found[2].results[0].rows() == (("42",),)


def test_only_the_first_rows_are_kept() -> None:
    framing = logged_in()
    released(framing, query("x"))
    found = replies(framing, row(b"1") * 1000 + complete("SELECT 1000") + ready())
    assert found[1].results[0].row_count == 1000
    assert len(found[1].results[0].sample) == 3


@pytest.mark.parametrize(
    ("request_bytes", "answer", "state"),
    [
        (b"", ready(), "waiting for a request"),
        (b"", complete("SELECT 1"), "waiting for a request"),
        (parse("x") + SYNC, BOUND, "answering Parse"),
        (query("x"), message("?"), "answering Query"),
        (query("x"), PARSED, "answering Query"),
        (bind() + SYNC, BOUND + row(b"1"), "answering Sync"),
    ],
)
def test_an_answer_that_the_table_does_not_have_stops_the_framing(
    request_bytes: bytes, answer: bytes, state: str
) -> None:
    framing = logged_in()
    released(framing, request_bytes)
    event = framing.receive_server(answer)[-1]
    assert isinstance(event, UnknownMessage)
    assert (event.side, event.state) == (Side.SERVER, state)
    assert framing.receive_server(ready()) == [event]
