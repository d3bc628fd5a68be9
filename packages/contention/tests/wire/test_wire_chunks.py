"""However a stream is cut into chunks, the same requests and replies are found in it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming

from .strict_gate import Reply, Request, StrictGate
from .wire_bytes import (
    BOUND,
    CLOSED,
    FLUSH,
    LOG_IN,
    PARSED,
    START_UP,
    SYNC,
    bind,
    close,
    complete,
    error,
    execute,
    fields,
    message,
    parse,
    query,
    ready,
    row,
)

NOTICE = fields("N", S="NOTICE", M="look")
EXCHANGES: list[tuple[bytes, bytes]] = [
    (query("SELECT 1"), row(b"1") + complete("SELECT 1") + ready()),
    (query(""), message("I") + ready()),
    (query("x"), NOTICE + error() + ready("E")),
    (parse("SELECT 1") + FLUSH, PARSED),
    (
        bind(b"\0" * 9) + execute() + SYNC,
        BOUND + row(b"x" * 30) + complete("SELECT 1") + ready("T"),
    ),
    (close("S") + SYNC, CLOSED + NOTICE + ready()),
    (SYNC, ready()),
    (query("COPY t FROM STDIN"), message("G", b"\0\0\0")),
]
COMMANDS: list[tuple[bytes, bytes]] = [
    (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    (b"PING\r\n", b"+PONG\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", b"$4\r\n\r\n\r\n\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", b"$-1\r\n"),
    (b"*2\r\n$4\r\nMGET\r\n$1\r\na\r\n", b"*2\r\n*-1\r\n*1\r\n:1\r\n"),
    (b"*2\r\n$7\r\nHGETALL\r\n$1\r\na\r\n", b"|1\r\n+a\r\n,1.5\r\n%1\r\n$1\r\na\r\n~1\r\n#t\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"-WRONGTYPE no\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"=7\r\ntxt:a\r\n\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b">2\r\n+invalidate\r\n*1\r\n+a\r\n_\r\n"),
]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


Cut = tuple[tuple[bytes, bytes], list[int], list[int]]
"""What is asked and answered, and where each is cut."""
Outcome = tuple[list[Request], dict[int, Reply], tuple[bytes, bytes]]


def play(gate: StrictGate, exchanges: list[tuple[list[bytes], list[bytes]]]) -> Outcome:
    for asked, answered in exchanges:
        for chunk in asked:
            gate.client(chunk)
        for chunk in answered:
            gate.server(chunk)
    assert gate.framing.failure is None
    return gate.requests, gate.replies, gate.take_output()


CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def cuttings(exchanges: list[tuple[bytes, bytes]]) -> st.SearchStrategy[list[Cut]]:
    return st.lists(st.tuples(st.sampled_from(exchanges), CUTS, CUTS), max_size=6)


@given(cuttings(EXCHANGES[:-1]))
def test_postgres_is_understood_in_any_chunking(
    drawn: list[Cut],
) -> None:
    whole, pieces = StrictGate(PostgresFraming()), StrictGate(PostgresFraming())
    for gate in (whole, pieces):
        gate.client(START_UP)
        gate.server(LOG_IN)
    expected = play(whole, [([asked], [answered]) for (asked, answered), _, _ in drawn])
    assert expected == play(
        pieces, [(cut(asked, a), cut(answered, b)) for (asked, answered), a, b in drawn]
    )
    assert len(expected[1]) == len(expected[0]) == len(drawn)


@given(st.lists(st.sampled_from(EXCHANGES[:-1]), min_size=1, max_size=6), CUTS, CUTS)
def test_a_postgres_pipeline_is_understood_in_any_chunking(
    exchanges: list[tuple[bytes, bytes]], asked_at: list[int], answered_at: list[int]
) -> None:
    """All at once in both directions, as the strict gate passes the requests one by one."""
    asked = b"".join(one for one, _ in exchanges)
    gate = StrictGate(PostgresFraming())
    gate.client(START_UP)
    gate.server(LOG_IN)
    gate.take_output()
    for chunk in cut(asked, asked_at):
        gate.client(chunk)
    forwarded = b""
    for _, answered in exchanges:
        forwarded += gate.take_output()[0]
        for chunk in cut(answered, answered_at):
            gate.server(chunk)
    assert gate.framing.failure is None
    assert forwarded == asked
    assert len(gate.replies) == len(exchanges)


@given(cuttings(COMMANDS))
def test_redis_is_understood_in_any_chunking(
    drawn: list[Cut],
) -> None:
    whole, pieces = StrictGate(RespFraming()), StrictGate(RespFraming())
    expected = play(whole, [([asked], [answered]) for (asked, answered), _, _ in drawn])
    assert expected == play(
        pieces, [(cut(asked, a), cut(answered, b)) for (asked, answered), a, b in drawn]
    )
    assert len(expected[1]) == len(expected[0]) == len(drawn)


@given(st.binary(max_size=200), CUTS)
def test_no_bytes_of_a_client_break_the_framing_itself(data: bytes, places: list[int]) -> None:
    postgres, redis = PostgresFraming(), RespFraming()
    postgres.receive_client(START_UP)
    for chunk in cut(data, places):
        postgres.receive_client(chunk)
        redis.receive_client(chunk)


@given(st.binary(max_size=200), CUTS)
def test_no_bytes_of_a_server_break_the_framing_itself(data: bytes, places: list[int]) -> None:
    postgres, redis = PostgresFraming(), RespFraming()
    for chunk in cut(data, places):
        postgres.receive_server(chunk)
        redis.receive_server(chunk)


@given(st.sampled_from("TDCtEASNKZ12ns"), st.binary(max_size=60))
def test_no_body_of_a_known_message_breaks_the_framing_itself(letter: str, body: bytes) -> None:
    framing = PostgresFraming()
    framing.receive_client(START_UP)
    framing.receive_server(LOG_IN)
    for request in framing.receive_client(query("x") + parse("y") + FLUSH):
        framing.release(request)  # type: ignore[arg-type]
    framing.receive_server(message(letter, body))
