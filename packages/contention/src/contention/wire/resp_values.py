"""RESP values as short text for people, and the flat messages of publish and subscribe."""

from dataclasses import dataclass

from contention.wire.resp import Value

SHOWN_CHARACTERS = 120
"""Longer texts are cut, with an ellipsis."""
_SHOWN_ELEMENTS = 30
_LINE_END = b"\r\n"
_BRACKETS = {"*": ("[", "]"), ">": ("[", "]"), "~": ("{", "}"), "%": ("{", "}"), "|": ("{", "}")}
_BULKS = "$=!"
_ERRORS = "-!"
_VERBATIM_PREFIX = len("txt:")


def shown_bytes(value: bytes) -> str:
    """An argument or string, quoted if it has to be, cut after `SHOWN_CHARACTERS`."""
    text = value[: 4 * SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    if not text or not text.isprintable() or " " in text:
        text = repr(text)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def shown_value(value: Value) -> str:
    """A value in short: strings quoted, nil, numbers, ``[…]``, ``{…}``, ``error …``."""
    text = _Reader(value.data, value.begins_at).text()
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def error_of(value: Value) -> str | None:
    """The message of an error; None for every other value."""
    if value.kind not in _ERRORS:
        return None
    return _Reader(value.data, value.begins_at).scalar().text


def flat_elements(value: Value, limit: int) -> tuple[bytes, ...]:
    """The first elements of an array or push, each as its bytes; empty at a nested one."""
    reader = _Reader(value.data, value.begins_at)
    count = min(limit, reader.count())
    elements: list[bytes] = []
    for _ in range(count):
        if reader.kind in _BRACKETS:
            return ()
        elements.append(reader.scalar().content)
    return tuple(elements)


@dataclass(frozen=True, slots=True)
class _Scalar:
    kind: str
    content: bytes
    is_null: bool = False

    @property
    def text(self) -> str:
        return self.content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")

    def shown(self) -> str:
        if self.is_null:
            return "nil"
        if self.kind in _ERRORS:
            return f"error {self.text}"
        if self.kind == "#":
            return "true" if self.content == b"t" else "false"
        if self.kind == "=":
            return repr(self.text[_VERBATIM_PREFIX:])
        return repr(self.text) if self.kind == "$" else self.text


class _Reader:
    """Reads a whole value from its beginning, as far as it is shown."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._left = _SHOWN_ELEMENTS

    @property
    def kind(self) -> str:
        return chr(self._data[self._position])

    def _line(self) -> bytes:
        end = self._data.index(_LINE_END, self._position)
        line = self._data[self._position + 1 : end]
        self._position = end + len(_LINE_END)
        return line

    def count(self) -> int:
        """The count of an aggregate, whose header this reads; -1 is null."""
        return int(self._line())

    def scalar(self) -> _Scalar:
        kind = self.kind
        line = self._line()
        if kind not in _BULKS:
            return _Scalar(kind, line, is_null=kind == "_")
        if line == b"-1":
            return _Scalar(kind, b"", is_null=True)
        begin = self._position
        self._position += int(line) + len(_LINE_END)
        return _Scalar(kind, self._data[begin : begin + int(line)])

    def text(self) -> str:
        """The value from here; everything behind the last element shown is left out."""
        self._left -= 1
        kind = self.kind
        if kind not in _BRACKETS:
            return self.scalar().shown()
        count = self.count()
        if count < 0:
            return "nil"
        opening, closing = _BRACKETS[kind]
        elements = self._pairs(count) if kind in "%|" else self._elements(count)
        return opening + ", ".join(elements) + closing

    def _elements(self, count: int) -> list[str]:
        shown: list[str] = []
        for _ in range(count):
            if self._left <= 0:
                return [*shown, "…"]
            shown.append(self.text())
        return shown

    def _pairs(self, count: int) -> list[str]:
        shown: list[str] = []
        for _ in range(count):
            if self._left <= 0:
                return [*shown, "…"]
            name = self.text()
            shown.append(f"{name}: {self.text() if self._left > 0 else '…'}")
        return shown
