import struct

import pytest

from contention.wire.events import (
    Answer,
    Forward,
    Goodbye,
    Malformed,
    Refused,
    Side,
    TlsDemanded,
    UnknownMessage,
)
from contention.wire.postgres import PostgresFraming
from contention.wire.postgres_client import HELD_COPY_BYTES
from contention.wire.postgres_requests import Cancel, PostgresRequest, RequestKind, StartUp
from contention.wire.postgres_sql import Verb

from .wire_bytes import (
    COPY_DONE,
    FLUSH,
    GSS_REQUEST,
    SSL_REQUEST,
    START_UP,
    SYNC,
    TERMINATE,
    bind,
    close,
    describe,
    execute,
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

INT4, TEXT = 23, 25


def kinds(data: bytes) -> list[tuple[str, RequestKind]]:
    return [(one.messages, one.kind) for one in requests_of(logged_in(), data)]


def test_requests_for_encryption_are_answered_by_the_gate() -> None:
    framing = PostgresFraming()
    assert framing.receive_client(GSS_REQUEST) == [Answer(b"N", "GSSENCRequest")]
    assert framing.receive_client(SSL_REQUEST) == [Answer(b"N", "SSLRequest")]
    (event,) = framing.receive_client(START_UP)
    assert isinstance(event, StartUp)
    assert (event.data, event.protocol, dict(event.parameters)) == (
        START_UP,
        (3, 0),
        {"user": "me"},
    )


def test_the_newer_protocol_with_its_longer_keys_passes() -> None:
    framing = PostgresFraming()
    packet = struct.pack(">II", 9, (3 << 16) + 2) + b"\0"
    (event,) = framing.receive_client(packet)
    assert isinstance(event, StartUp)
    assert event.protocol == (3, 2)
    key = bytes(range(200))
    framing.receive_server(message("v", struct.pack(">II", 2, 0)))
    events = framing.receive_server(message("K", struct.pack(">I", 9) + key) + ready())
    assert [getattr(one, "secret", None) for one in events] == [key]
    cancel = struct.pack(">III", 12 + len(key), 80877102, 9) + key
    assert PostgresFraming().receive_client(cancel) == [Cancel(cancel, 9, key)]


def test_another_protocol_is_refused_by_its_version() -> None:
    (event,) = PostgresFraming().receive_client(struct.pack(">II", 8, 2 << 16))
    assert isinstance(event, Refused)
    assert "protocol 2.0" in str(event)


def test_direct_tls_is_refused_with_its_remedy_and_for_good() -> None:
    framing = PostgresFraming()
    (event,) = framing.receive_client(b"\x16\x03\x01\x02\x00")
    assert isinstance(event, TlsDemanded)
    assert "sslmode=disable" in str(event)
    assert framing.receive_client(START_UP) == [event] == framing.receive_server(b"N")
    assert framing.failure == event


def test_passwords_and_sasl_pass_through_unread() -> None:
    framing = PostgresFraming()
    framing.receive_client(START_UP)
    framing.receive_server(message("R", struct.pack(">I", 10) + b"SCRAM-SHA-256\0\0"))
    secret = message("p", b"SCRAM-SHA-256\0 ... ")
    assert framing.receive_client(secret) == [Forward(secret)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (query("SELECT 1"), [("Q", RequestKind.DATA)]),
        (query("BEGIN") + query("COMMIT"), [("Q", RequestKind.TRANSACTION)] * 2),
        (parse("SELECT 1") + describe("S") + FLUSH, [("PDH", RequestKind.PREPARATION)]),
        (parse("BEGIN") + bind() + execute() + SYNC, [("PBES", RequestKind.TRANSACTION)]),
        (SYNC, [("S", RequestKind.PREPARATION)]),
        (close("S") + SYNC, [("CS", RequestKind.PREPARATION)]),
        (message("F", struct.pack(">I", 7)), [("F", RequestKind.DATA)]),
        (query("show all"), [("Q", RequestKind.INTROSPECTION)]),
        (query("-- ping"), [("Q", RequestKind.INTROSPECTION)]),
        (query("BEGIN; show all"), [("Q", RequestKind.TRANSACTION)]),
        (query("BEGIN; UPDATE t SET x = 1; COMMIT"), [("Q", RequestKind.DATA)]),
        (parse("SELECT 1") + query("SELECT 2"), [("PQ", RequestKind.DATA)]),
        (
            (parse("SELECT 1") + bind() + execute() + SYNC) * 3,
            [("PBES", RequestKind.DATA)] * 3,
        ),
        (bind(name="unseen") + execute() + SYNC, [("BES", RequestKind.DATA)]),
    ],
)
def test_a_request_ends_where_the_client_waits(
    data: bytes, expected: list[tuple[str, RequestKind]]
) -> None:
    assert kinds(data) == expected


def test_the_bytes_of_requests_are_the_clients_bytes() -> None:
    parts = [query("SELECT 1"), parse("x") + FLUSH, bind() + execute() + SYNC, SYNC]
    assert [one.data for one in requests_of(logged_in(), b"".join(parts))] == parts


def test_a_run_is_held_until_its_end_comes() -> None:
    framing = logged_in()
    assert framing.receive_client(parse("SELECT 1") + bind()) == []
    assert framing.unfinished == "PB"
    (request,) = requests_of(framing, execute() + SYNC)
    assert request.data == parse("SELECT 1") + bind() + execute() + SYNC
    assert framing.unfinished == ""


def test_names_lead_to_their_sql_and_values() -> None:
    framing = logged_in()
    requests_of(framing, parse("UPDATE t SET a = $1, b = $2", "s1", [INT4, TEXT]) + FLUSH)
    (request,) = requests_of(
        framing,
        bind(struct.pack(">i", -5), b"it's", name="s1", portal="p", is_binary=True)
        + execute("p")
        + SYNC,
    )
    assert request.texts == ("UPDATE t SET a = $1, b = $2",)
    assert request.executions[0].parameters() == ("-5", "'it''s'")
    assert request.verbs == (Verb.OTHER,)


def test_values_that_cannot_be_read_are_left_out() -> None:
    (request,) = requests_of(logged_in(), message("B", b"\0\0\0\1") + execute() + SYNC)
    assert request.executions[0].parameters() == ()


def test_types_that_only_the_server_knows_are_learned_from_its_description() -> None:
    framing = logged_in()
    released(framing, parse("SELECT $1", "s") + describe("S", "s") + FLUSH)
    framing.receive_server(message("1") + parameters(INT4) + message("n"))
    (request,) = requests_of(
        framing, bind(b"\0\0\0\x07", name="s", is_binary=True) + execute() + SYNC
    )
    assert request.executions[0].parameters() == ("7",)


def test_a_statement_that_was_prepared_out_of_sight_is_other() -> None:
    (request,) = requests_of(logged_in(), bind(name="sql_level") + execute() + SYNC)
    assert request.texts == ()
    assert request.verbs == (Verb.OTHER,)


def test_a_parse_that_the_server_refused_leaves_the_name_as_it_was() -> None:
    framing = logged_in()
    released(framing, parse("SELECT 'first'", "s") + SYNC)
    framing.receive_server(message("1") + ready())
    released(framing, parse("SELECT 'second'", "s") + SYNC)
    framing.receive_server(message("E", b"C42P05\0\0") + ready())
    (request,) = requests_of(framing, bind(name="s") + execute() + SYNC)
    assert request.texts == ("SELECT 'first'",)


def test_a_parse_that_the_server_skipped_leaves_the_name_as_it_was() -> None:
    framing = logged_in()
    released(framing, parse("broken") + FLUSH)
    framing.receive_server(message("E", b"C42601\0\0"))
    (skipped,) = requests_of(framing, parse("SELECT 1", "s") + FLUSH)
    framing.release(skipped)
    (request,) = requests_of(framing, bind(name="s") + execute() + SYNC)
    assert request.texts == ()


def test_the_sessions_encoding_and_strings_decide_how_sql_is_read() -> None:
    framing = logged_in()
    framing.receive_server(
        status("client_encoding", "LATIN1") + status("standard_conforming_strings", "off")
    )
    (request,) = requests_of(framing, message("Q", b"SELECT '\xe9\\'; x'\0"))
    assert request.texts == (r"SELECT 'é\'; x'",)
    assert len(request.verbs) == 1


def test_a_copys_data_and_its_end_are_one_request() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN"))
    framing.receive_server(message("G", b"\0\0\0"))
    rows = message("d", b"1\n") + message("d", b"2\n")
    assert framing.receive_client(rows) == []
    (request,) = requests_of(framing, COPY_DONE)
    assert (request.messages, request.kind) == ("dc", RequestKind.COPY_DATA)
    assert request.data == rows + COPY_DONE


def test_a_copy_for_execute_goes_on_to_its_sync() -> None:
    framing = logged_in()
    released(framing, parse("COPY t FROM STDIN") + bind() + execute() + SYNC)
    framing.receive_server(message("1") + message("2") + message("G", b"\0\0\0"))
    assert framing.receive_client(message("d", b"1\n") + COPY_DONE) == []
    (request,) = requests_of(framing, SYNC)
    assert request.messages == "dcS"


def test_a_long_copy_passes_in_parts() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN"))
    framing.receive_server(message("G", b"\0\0\0"))
    chunk = message("d", bytes(2**20))
    requests = requests_of(framing, chunk * 20 + COPY_DONE)
    assert [one.messages for one in requests] == ["d", "d", "dc"]
    assert b"".join(one.data for one in requests) == chunk * 20 + COPY_DONE
    assert len(requests[0].data) >= HELD_COPY_BYTES


def test_a_client_that_breaks_off_a_copy_which_goes_on_is_unknown() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN"))
    framing.receive_server(message("G", b"\0\0\0"))
    (event,) = framing.receive_client(message("d") + query("SELECT 1"))
    assert event == UnknownMessage(Side.CLIENT, "byte 0x51 ('Q')", "sending copy data")


def test_a_client_goes_on_at_once_behind_a_copy_that_the_server_ended() -> None:
    framing = logged_in()
    released(framing, query("COPY t FROM STDIN"))
    framing.receive_server(message("G", b"\0\0\0"))
    framing.receive_client(message("d"))
    framing.receive_server(message("E", b"C57014\0\0") + ready())
    (request,) = released(framing, query("SELECT 1"))
    assert (request.messages, request.kind) == ("dQ", RequestKind.DATA)


def test_terminate_takes_an_open_run_with_it() -> None:
    framing = logged_in()
    assert framing.receive_client(parse("x") + TERMINATE) == [Goodbye(parse("x") + TERMINATE)]
    (event,) = framing.receive_client(SYNC)
    assert event == UnknownMessage(Side.CLIENT, "byte 0x53 ('S')", "closed")


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (message("z"), UnknownMessage(Side.CLIENT, "byte 0x7a ('z')", "between requests")),
        (
            parse("x") + message("\x01"),
            UnknownMessage(Side.CLIENT, "byte 0x01", "inside a run of extended messages"),
        ),
        (
            query("x") + message("p"),
            UnknownMessage(Side.CLIENT, "byte 0x70 ('p')", "between requests"),
        ),
        (b"Q\0\0\0\3", Malformed(Side.CLIENT, "a message of 3 bytes")),
        (b"Q\x7f\0\0\0", Malformed(Side.CLIENT, "a message of 2130706432 bytes")),
    ],
)
def test_a_message_that_the_table_does_not_have_stops_the_framing(
    data: bytes, failure: object
) -> None:
    framing = logged_in()
    requests_of(framing, SYNC)
    assert framing.receive_client(data)[-1] == failure


def test_a_body_that_cannot_be_read_is_malformed_and_keeps_what_came_before() -> None:
    good, bad = logged_in().receive_client(query("SELECT 1") + message("P", b"no zero"))
    assert isinstance(good, PostgresRequest)
    assert isinstance(bad, Malformed)


def test_requests_are_released_in_their_order() -> None:
    framing = logged_in()
    first, second = requests_of(framing, SYNC + SYNC)
    with pytest.raises(ValueError, match="request 1 is next, not 2"):
        framing.release(second)
    framing.release(first)
    framing.release(second)


def test_a_row_of_the_client_is_no_message() -> None:
    (event,) = logged_in().receive_client(row(b"1") + message("G"))[-1:]
    assert isinstance(event, UnknownMessage | Malformed)
