"""RESP2 and RESP3 as bytes: where commands and values end, and what they say in short.

Format: the Redis serialization protocol specification. Streamed strings and aggregates, which no
released server sends, are refused.
"""

from dataclasses import dataclass

from contention.wire.backlog import Backlog
from contention.wire.events import (
    TLS_HANDSHAKE,
    Malformed,
    Refused,
    Side,
    Stopped,
    TlsDemanded,
    UnknownMessage,
    byte_text,
)

MAX_ARGUMENTS = 2**20
"""More arguments are a protocol error to the server as well."""
MAX_BULK_BYTES = 512 * 2**20
"""``proto-max-bulk-len`` of Redis."""
MAX_LINE_BYTES = 64 * 2**10
"""``PROTO_INLINE_MAX_SIZE`` of Redis."""
MAX_DEPTH = 128

_LINE_END = b"\r\n"
_STREAMED = b"?"
_TLS_REMEDY = "use redis:// instead of rediss://"

_LINES = frozenset(b"+-:,#_(")
_BULKS = frozenset(b"$=!")
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
"""Elements for each one counted."""
_ATTRIBUTE = ord("|")
_ARRAY, _BULK = ord("*"), ord("$")
VALUE_KINDS = frozenset("+-:,#_($=!*~%")
"""Types that a reply can have; ``>`` is out of band and ``|`` stands before another value."""


@dataclass(frozen=True, slots=True)
class Value:
    """A whole value of the server.

    Attributes:
        kind: its type byte, behind any attributes.
        data: its bytes, attributes included.
        begins_at: where in them the value itself begins.
    """

    kind: str
    data: bytes
    begins_at: int


@dataclass(frozen=True, slots=True)
class Command:
    """A whole command of the client; an empty one is ignored by the server."""

    data: bytes
    arguments: tuple[bytes, ...]


class ValueScanner:
    """Finds where the server's values end."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._parts: list[bytes] = []
        self._size = 0
        self._open: list[int] = []
        self._kind = 0
        self._begins_at = 0
        self._line_end = 0
        self._wanted = 0

    def receive(self, data: bytes, values: list[Value]) -> None:
        """Append the values that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        chunk = self._backlog.take(data)
        if chunk is None:
            return
        begun = position = 0
        while end := self._element_end(chunk, position):
            is_whole = self._element(chunk, position, begun)
            position = end
            if is_whole:
                values.append(self._value(chunk[begun:position]))
                begun = position
        if begun < position:
            self._parts.append(chunk[begun:position])
            self._size += position - begun
        self._backlog.keep(chunk[position:], self._wanted)

    def _value(self, last: bytes) -> Value:
        data = b"".join([*self._parts, last]) if self._parts else last
        value = Value(chr(self._kind), data, self._begins_at)
        self._parts.clear()
        self._size = 0
        return value

    def _element_end(self, chunk: bytes, position: int) -> int:
        """Where a line, a bulk or an aggregate's header ends; 0 while that has not arrived."""
        line_end = _line_end(chunk, position, Side.SERVER)
        self._line_end = line_end
        if not line_end:
            self._wanted = len(chunk) - position + 1
            return 0
        kind = chunk[position]
        if kind in _LINES or kind in _AGGREGATES:
            return line_end + 2
        if kind not in _BULKS:
            raise Stopped(UnknownMessage(Side.SERVER, byte_text(kind), "reading a value"))
        size = _count(chunk[position + 1 : line_end], MAX_BULK_BYTES, Side.SERVER)
        if size < 0:
            return line_end + 2
        end = line_end + 2 + size + 2
        self._wanted = end - position
        return _bulk_end(chunk, end, Side.SERVER)

    def _element(self, chunk: bytes, position: int, begun: int) -> bool:
        """Take an element in; whether it ends the value."""
        kind = chunk[position]
        if not self._open or (self._kind == _ATTRIBUTE and self._open == [1]):
            self._kind = kind
            self._begins_at = self._size + position - begun
        if kind in _AGGREGATES:
            header = chunk[position + 1 : self._line_end]
            elements = _count(header, MAX_BULK_BYTES, Side.SERVER) * _AGGREGATES[kind]
            if kind == _ATTRIBUTE:
                elements += 1
            if elements > 0:
                self._enter(elements)
                return False
        return self._leave()

    def _enter(self, elements: int) -> None:
        if len(self._open) == MAX_DEPTH:
            raise Stopped(Malformed(Side.SERVER, f"values nested deeper than {MAX_DEPTH}"))
        self._open.append(elements)

    def _leave(self) -> bool:
        while self._open:
            self._open[-1] -= 1
            if self._open[-1]:
                return False
            self._open.pop()
        return True


class CommandScanner:
    """Finds where the client's commands end: arrays of bulk strings, and inline commands."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._parts: list[bytes] = []
        self._arguments: list[bytes] = []
        self._left = 0
        self._wanted = 0

    def receive(self, data: bytes, commands: list[Command]) -> None:
        """Append the commands that ``data`` completes.

        Raises:
            Stopped: with the failure.
        """
        chunk = self._backlog.take(data)
        if chunk is None:
            return
        begun = position = 0
        while end := self._argument(chunk, position) if self._left else self._head(chunk, position):
            position = end
            if not self._left:
                commands.append(self._command(chunk[begun:position]))
                begun = position
        if begun < position:
            self._parts.append(chunk[begun:position])
        self._backlog.keep(chunk[position:], self._wanted)

    def _command(self, last: bytes) -> Command:
        data = b"".join([*self._parts, last]) if self._parts else last
        command = Command(data, tuple(self._arguments))
        self._parts.clear()
        self._arguments.clear()
        return command

    def _head(self, chunk: bytes, position: int) -> int:
        """Read an array's header or a whole inline command; 0 while that has not arrived."""
        self._wanted = len(chunk) - position + 1
        if position == len(chunk):
            return 0
        if chunk[position] == TLS_HANDSHAKE:
            raise Stopped(TlsDemanded(_TLS_REMEDY))
        if chunk[position] != _ARRAY:
            return self._inline(chunk, position)
        line_end = _line_end(chunk, position, Side.CLIENT)
        if not line_end:
            return 0
        count = _count(chunk[position + 1 : line_end], MAX_ARGUMENTS, Side.CLIENT)
        self._left = max(0, count)
        return line_end + 2

    def _inline(self, chunk: bytes, position: int) -> int:
        end = chunk.find(b"\n", position, position + MAX_LINE_BYTES)
        if end < 0:
            _check_line(len(chunk) - position, Side.CLIENT)
            return 0
        self._arguments.extend(split_inline(chunk[position:end]))
        return end + 1

    def _argument(self, chunk: bytes, position: int) -> int:
        line_end = _line_end(chunk, position, Side.CLIENT)
        if not line_end:
            self._wanted = len(chunk) - position + 1
            return 0
        if chunk[position] != _BULK:
            raise Stopped(UnknownMessage(Side.CLIENT, byte_text(chunk[position]), "in a command"))
        size = _count(chunk[position + 1 : line_end], MAX_BULK_BYTES, Side.CLIENT)
        if size < 0:
            raise Stopped(Malformed(Side.CLIENT, "an argument of negative length"))
        end = line_end + 2 + size + 2
        self._wanted = end - position
        if not _bulk_end(chunk, end, Side.CLIENT):
            return 0
        self._arguments.append(chunk[line_end + 2 : end - 2])
        self._left -= 1
        return end


def _line_end(chunk: bytes, position: int, side: Side) -> int:
    """Where the line's CR is; 0 while it has not arrived."""
    end = chunk.find(_LINE_END, position, position + MAX_LINE_BYTES)
    if end < 0:
        _check_line(len(chunk) - position, side)
        return 0
    return end


def _check_line(size: int, side: Side) -> None:
    if size >= MAX_LINE_BYTES:
        raise Stopped(Malformed(side, f"a line longer than {MAX_LINE_BYTES} bytes"))


def _bulk_end(chunk: bytes, end: int, side: Side) -> int:
    if end > len(chunk):
        return 0
    if chunk[end - 2 : end] != _LINE_END:
        raise Stopped(Malformed(side, "a string that is longer than its length says"))
    return end


def _count(text: bytes, limit: int, side: Side) -> int:
    """A length: -1 is null."""
    if text.startswith(_STREAMED):
        raise Stopped(Refused("a streamed RESP3 type", "no released server or client sends it"))
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or not -1 <= int(text) <= limit:
        raise Stopped(Malformed(side, f"a length of {text[:20]!r}"))
    return int(text)


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}


def split_inline(line: bytes) -> list[bytes]:
    r"""The arguments of an inline command: words, with quotes as in a shell.

    Double quotes know the escapes of C and ``\xHH``, single quotes ``\'`` alone; an open quote
    gives no arguments, for the server refuses the line.
    """
    text = line.decode("latin-1")
    arguments: list[bytes] = []
    position = 0
    while (position := _skip_blanks(text, position)) < len(text):
        word, position = _inline_word(text, position)
        if position < 0:
            return []
        arguments.append(word.encode("latin-1"))
    return arguments


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _inline_word(text: str, position: int) -> tuple[str, int]:
    """A word and the position behind it; -1 for an open quote."""
    word = ""
    while position < len(text) and not text[position].isspace():
        mark = text[position]
        position += 1
        if mark not in "\"'":
            word += mark
            continue
        while (character := text[position : position + 1]) != mark:
            if not character:
                return word, -1
            shown, position = _quoted_character(text, position, mark)
            word += shown
        position += 1
    return word, position


def _quoted_character(text: str, position: int, quote: str) -> tuple[str, int]:
    character, following = text[position], text[position + 1 : position + 2]
    if character != "\\" or not following or (quote == "'" and following != "'"):
        return character, position + 1
    code = text[position + 2 : position + 4]
    if following == "x" and len(code) == len("HH") and set(code) <= set("0123456789abcdefABCDEF"):
        return chr(int(code, 16)), position + 4
    return _ESCAPES.get(following, following), position + 2
