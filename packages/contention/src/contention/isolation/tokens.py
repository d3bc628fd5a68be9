"""The words of a spec file, each with its line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from contention.isolation.errors import SpecError

KEYWORDS = frozenset({"notices", "permutation", "session", "setup", "step", "teardown"})


class Kind(Enum):
    """What a token is."""

    KEYWORD = auto()
    NAME = auto()
    SQL = auto()
    NUMBER = auto()
    MARK = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One word; ``text`` is without quotes, braces and the blanks inside the braces."""

    kind: Kind
    text: str
    line: int

    def __str__(self) -> str:
        if self.kind is Kind.END:
            return "the end of the file"
        return "an SQL block" if self.kind is Kind.SQL else f'"{self.text}"'


_BLANKS = " \t\r\f"
"""Trimmed inside the braces of an SQL block, where line ends stay."""

_PATTERN = re.compile(
    r"""
      (?P<skipped> [ \t\r\f\n]+ | \#[^\r\n]* )
    | (?P<word>    [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | (?P<quoted>  "(?:[^"\n]|"")*" )
    | (?P<sql>     \{[^}]*\} )
    | (?P<number>  [0-9]+ )
    | (?P<mark>    [,()*] )
    """,
    re.VERBOSE,
)


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of a spec, and one of kind END after the last.

    Raises:
        SpecError: a character that begins no token, an open quote or an open brace.
    """
    position, line = 0, 1
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            raise SpecError(_unreadable(text[position:]), line)
        token = _token(str(match.lastgroup), match.group(), line)
        # A block is known by the line on which it begins.
        if token is not None:
            yield token
        line += match.group().count("\n")
        position = match.end()
    yield Token(Kind.END, "", line)


def _token(group: str, text: str, line: int) -> Token | None:
    match group:
        case "word":
            return Token(Kind.KEYWORD if text in KEYWORDS else Kind.NAME, text, line)
        case "quoted":
            return Token(Kind.NAME, text[1:-1].replace('""', '"'), line)
        case "sql":
            return Token(Kind.SQL, text[1:-1].strip(_BLANKS), line)
        case "number":
            return Token(Kind.NUMBER, text, line)
        case "mark":
            return Token(Kind.MARK, text, line)
        case _:
            return None


def _unreadable(rest: str) -> str:
    if rest.startswith("{"):
        return "the SQL block that begins here has no closing brace"
    if rest.startswith('"'):
        return "the quoted name that begins here has no closing quote on its line"
    return f"a spec cannot contain {rest[0]!r} here"
