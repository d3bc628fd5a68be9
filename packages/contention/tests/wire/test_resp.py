import pytest

from contention.wire.events import Malformed, Refused, Side, Stopped, TlsDemanded, UnknownMessage
from contention.wire.resp import Command, CommandScanner, Value, ValueScanner, split_inline
from contention.wire.resp_values import SHOWN_CHARACTERS, error_of, flat_elements, shown_value


def values(data: bytes) -> list[Value]:
    found: list[Value] = []
    ValueScanner().receive(data, found)
    return found


def commands(data: bytes) -> list[Command]:
    found: list[Command] = []
    CommandScanner().receive(data, found)
    return found


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"+OK\r\n", "OK"),
        (b"-ERR no\r\n", "error ERR no"),
        (b":-5\r\n", "-5"),
        (b"$5\r\nhello\r\n", "'hello'"),
        (b"$4\r\n\r\n\r\n\r\n", r"'\r\n\r\n'"),
        (b"$0\r\n\r\n", "''"),
        (b"$-1\r\n", "nil"),
        (b"*-1\r\n", "nil"),
        (b"*0\r\n", "[]"),
        (b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", "[[1], 'x']"),
        (b"_\r\n", "nil"),
        (b"#t\r\n", "true"),
        (b"#f\r\n", "false"),
        (b",1.5\r\n", "1.5"),
        (b",inf\r\n", "inf"),
        (b"(349289032840923850932485094385\r\n", "349289032840923850932485094385"),
        (b"!5\r\nERR x\r\n", "error ERR x"),
        (b"=8\r\ntxt:some\r\n", "'some'"),
        (b"~2\r\n:1\r\n:2\r\n", "{1, 2}"),
        (b"%1\r\n+a\r\n*1\r\n:1\r\n", "{a: [1]}"),
        (b"%0\r\n", "{}"),
        (b">2\r\n+message\r\n+x\r\n", "[message, x]"),
        (b"|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n", "'x'"),
        (b"|1\r\n+ttl\r\n:9\r\n*1\r\n:1\r\n", "[1]"),
    ],
)
def test_a_value_of_either_protocol_is_found_whole_and_shown(data: bytes, shown: str) -> None:
    (value,) = values(data)
    assert value.data == data
    assert shown_value(value) == shown


def test_attributes_belong_to_the_value_behind_them() -> None:
    (value, after) = values(b"|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n-ERR no\r\n:1\r\n")
    assert (value.kind, error_of(value), after.data) == ("-", "ERR no", b":1\r\n")


def test_values_are_shown_in_bounded_length() -> None:
    (value,) = values(b"*1000\r\n" + b"$3\r\nabc\r\n" * 1000)
    assert shown_value(value).startswith("['abc', 'abc'")
    assert len(shown_value(value)) <= SHOWN_CHARACTERS
    (value,) = values(b"$9000\r\n" + b"x" * 9000 + b"\r\n")
    assert len(shown_value(value)) == SHOWN_CHARACTERS


def test_the_flat_elements_of_a_message_are_its_bytes() -> None:
    (value,) = values(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
    assert flat_elements(value, 3) == (b"subscribe", b"a", b"1")
    (value,) = values(b"*2\r\n*1\r\n:1\r\n:2\r\n")
    assert flat_elements(value, 3) == ()


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"$?\r\n", Refused),
        (b"*?\r\n", Refused),
        (b"%?\r\n", Refused),
        (b"@x\r\n", UnknownMessage),
        (b"*x\r\n", Malformed),
        (b"*-2\r\n", Malformed),
        (b"$3\r\nabcd\r\n", Malformed),
        (b"$999999999999\r\n", Malformed),
        (b"+" + b"x" * 70_000, Malformed),
        (b"*1\r\n" * 200, Malformed),
    ],
)
def test_what_is_no_value_stops_the_scanner(data: bytes, failure: type) -> None:
    with pytest.raises(Stopped) as stopped:
        values(data)
    assert isinstance(stopped.value.failure, failure)


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"\x16\x03\x01", TlsDemanded),
        (b"*1\r\n:1\r\n", UnknownMessage),
        (b"*1\r\n$-1\r\n", Malformed),
        (b"*9999999\r\n", Malformed),
        (b"GET " + b"x" * 70_000, Malformed),
    ],
)
def test_what_is_no_command_stops_the_scanner(data: bytes, failure: type) -> None:
    with pytest.raises(Stopped) as stopped:
        commands(data)
    assert isinstance(stopped.value.failure, failure)


def test_an_unknown_byte_is_named_with_its_place() -> None:
    with pytest.raises(Stopped) as stopped:
        values(b"@\r\n")
    assert str(stopped.value) == (
        "a message of the server that the gate does not know: byte 0x40 ('@') while reading a value"
    )
    assert stopped.value.failure == UnknownMessage(
        Side.SERVER, "byte 0x40 ('@')", "reading a value"
    )


def test_commands_are_arrays_of_strings_or_lines_of_words() -> None:
    data = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\nSET a 'b c'\n"
    assert [one.arguments for one in commands(data)] == [
        (b"GET", b"a"),
        (b"PING",),
        (),
        (),
        (b"SET", b"a", b"b c"),
    ]
    assert b"".join(one.data for one in commands(data)) == data


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"  a  b ", [b"a", b"b"]),
        (rb'"a\n\x41\"" b', [b'a\nA"', b"b"]),
        (rb"'a\n\'' b", [rb"a\n'", b"b"]),
        (b'"" x', [b"", b"x"]),
        (b"'open", []),
    ],
)
def test_inline_words_are_quoted_as_in_a_shell(line: bytes, words: list[bytes]) -> None:
    assert split_inline(line) == words
