"""SQL texts taken apart as far as their statements and first words.

Lexical rules: PostgreSQL documentation, chapter 4.1 (quotes, dollar quotes, nested comments).
Nothing is concluded about tables or locks: the server is asked about those.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Verb(StrEnum):
    """What a statement does to its transaction; everything else is ``OTHER``."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release savepoint"
    ROLLBACK_TO = "rollback to savepoint"
    PREPARE_TRANSACTION = "prepare transaction"
    COMMIT_PREPARED = "commit prepared"
    ROLLBACK_PREPARED = "rollback prepared"
    SET = "set"
    INTROSPECTION = "introspection"
    OTHER = "other"

    @property
    def is_control(self) -> bool:
        """Whether the statement steers the transaction or session and reads no rows."""
        return self not in {Verb.INTROSPECTION, Verb.OTHER}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text, without the semicolon."""

    text: str
    verb: Verb


_CACHED_LENGTH = 4096
_FIRST_WORDS = 4
_QUOTED = '"'

_BEFORE_STRINGS = r"""
    (?P<blank>[ \t\n\r\f\v]++|--[^\n\r]*+)
  | (?P<comment>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z))
"""
_AFTER_STRINGS = r"""
  | (?P<name>"(?:[^"]++|"")*+(?:"|\Z))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?\$)
  | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+)
  | (?P<mark>[;()])
  | (?P<rest>[0-9]++|[^ ;()'"$/\-A-Za-z_0-9\x80-\U0010ffff\t\n\r\f\v]++|.)
"""
_CONFORMING = re.compile(
    _BEFORE_STRINGS + r"| (?P<string>'(?:[^']++|'')*+(?:'|\Z))" + _AFTER_STRINGS,
    re.VERBOSE | re.DOTALL,
)
_BACKSLASHED = re.compile(
    _BEFORE_STRINGS + r"| (?P<string>'(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z))" + _AFTER_STRINGS,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")

_INTROSPECTION = re.compile(
    r"""(?ix)
      (?:select\s+pg_catalog\.version\(\)
        |select\s+current_schema\(\)
        |select\s+current_setting\('is_superuser'\)
      )\s*\Z
    """
)
"""Whole texts with which drivers ask about the server before any work."""
_LONGEST_QUESTION = 60

_DRIVER_TYPE_QUERIES = (
    "WITH RECURSIVE typeinfo_tree( ",
    "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, ",
    "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE ",
)
"""Beginnings of the type queries of asyncpg, psycopg and psycopg2, which read catalogs alone."""
_LONGEST_BEGINNING = 200


def split_statements(sql: str, *, conforming: bool = True) -> tuple[Statement, ...]:
    """The statements of a text in order; none for blanks, comments and lone semicolons.

    Args:
        sql: what a driver sent, of any length; an open quote reaches to the end.
        conforming: the session's ``standard_conforming_strings``.
    """
    if len(sql) <= _CACHED_LENGTH:
        return _split_cached(sql, conforming)
    return tuple(_split(sql, conforming=conforming))


def tokens(sql: str, *, conforming: bool = True) -> Iterator[tuple[str, str]]:
    """What is neither blank nor comment, in order.

    Returns:
        the kind, as in ``word``, ``name`` (quoted), ``string``, ``mark`` and ``rest``; the text.
    """
    if len(sql) <= _CACHED_LENGTH:
        return iter(_tokens_cached(sql, conforming))
    return _texts(sql, conforming=conforming)


@lru_cache(maxsize=1024)
def _tokens_cached(sql: str, conforming: bool) -> tuple[tuple[str, str], ...]:  # noqa: FBT001 - cached positionally
    return tuple(_texts(sql, conforming=conforming))


def _texts(sql: str, *, conforming: bool) -> Iterator[tuple[str, str]]:
    for kind, start, end in _tokens(sql, conforming=conforming):
        yield kind, sql[start:end]


@lru_cache(maxsize=1024)
def _split_cached(sql: str, conforming: bool) -> tuple[Statement, ...]:  # noqa: FBT001 - cached positionally
    return tuple(_split(sql, conforming=conforming))


def _split(sql: str, *, conforming: bool) -> Iterator[Statement]:
    begin = 0
    words = _Words()
    for kind, start, end in _tokens(sql, conforming=conforming):
        if kind == "mark" and sql[start] == ";" and not words.is_nested:
            if words.seen_anything:
                yield _statement(sql[begin:start], words)
            begin, words = end, _Words()
        else:
            words.see(kind, sql[start:end])
    if words.seen_anything:
        yield _statement(sql[begin:], words)


def _tokens(sql: str, *, conforming: bool) -> Iterator[tuple[str, int, int]]:
    """Kind, start and end of what is neither blank nor comment."""
    match_at = (_CONFORMING if conforming else _BACKSLASHED).match
    position = 0
    while match := match_at(sql, position):
        start, position = match.span()
        kind = str(match.lastgroup)
        if kind == "comment":
            position = _comment_end(sql, position)
        elif kind == "dollar":
            close = sql.find(match.group(), position)
            position = len(sql) if close < 0 else close + len(match.group())
            yield kind, start, position
        elif kind != "blank":
            yield kind, start, position


def _comment_end(sql: str, position: int) -> int:
    """Where the comment that was opened before ``position`` ends; comments nest."""
    depth = 1
    while depth and (match := _COMMENT_MARK.search(sql, position)):
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return len(sql) if depth else position


class _Words:
    """The first words of a statement, and how deep inside it a token is."""

    __slots__ = ("_atomic", "_last", "_parentheses", "first", "seen_anything")

    def __init__(self) -> None:
        self.first: list[str] = []
        self.seen_anything = False
        self._parentheses = 0
        self._atomic = 0
        self._last = ""

    @property
    def is_nested(self) -> bool:
        """Whether a semicolon here belongs to a rule's actions or a function's body."""
        return self._parentheses > 0 or self._atomic > 0

    def see(self, kind: str, text: str) -> None:
        self.seen_anything = True
        if kind == "mark":
            self._parentheses = max(0, self._parentheses + (1 if text == "(" else -1))
        word = text.upper() if kind == "word" else _QUOTED
        if len(self.first) < _FIRST_WORDS:
            self.first.append(word)
        self._follow_body(word)

    def _follow_body(self, word: str) -> None:
        """Count the blocks of ``CREATE FUNCTION … BEGIN ATOMIC … CASE … END … END``."""
        if self.first[0] == "CREATE":
            if word == "ATOMIC" and self._last == "BEGIN":
                self._atomic = 1
            elif self._atomic:
                self._atomic += {"CASE": 1, "END": -1}.get(word, 0)
        self._last = word


_VERBS = {
    "BEGIN": Verb.BEGIN,
    "START": Verb.BEGIN,
    "COMMIT": Verb.COMMIT,
    "END": Verb.COMMIT,
    "ROLLBACK": Verb.ROLLBACK,
    "ABORT": Verb.ROLLBACK,
    "SAVEPOINT": Verb.SAVEPOINT,
    "RELEASE": Verb.RELEASE,
    "SET": Verb.SET,
    "RESET": Verb.SET,
    "DEALLOCATE": Verb.SET,
    "SHOW": Verb.INTROSPECTION,
}
_VERBS_OF_TWO: dict[tuple[str, ...], Verb] = {
    ("COMMIT", "PREPARED"): Verb.COMMIT_PREPARED,
    ("ROLLBACK", "PREPARED"): Verb.ROLLBACK_PREPARED,
    ("PREPARE", "TRANSACTION"): Verb.PREPARE_TRANSACTION,
    ("ROLLBACK", "TO"): Verb.ROLLBACK_TO,
    # Checks deferred constraints now, which reads and locks rows.
    ("SET", "CONSTRAINTS"): Verb.OTHER,
}
_NOISE = {"WORK", "TRANSACTION"}


def _statement(text: str, words: _Words) -> Statement:
    text = text.strip()
    return Statement(text, _verb(text, words.first))


def _verb(text: str, first: list[str]) -> Verb:
    if first[0] == "ROLLBACK" and len(first) > 1 and first[1] in _NOISE:
        first = [first[0], *first[2:]]
    verb = _VERBS_OF_TWO.get(tuple(first[:2])) or _VERBS.get(first[0], Verb.OTHER)
    if verb is Verb.OTHER and _is_introspection(text):
        return Verb.INTROSPECTION
    return verb


def _is_introspection(text: str) -> bool:
    if len(text) <= _LONGEST_QUESTION and _INTROSPECTION.match(text):
        return True
    beginning = " ".join(text[:_LONGEST_BEGINNING].split()) + " "
    return beginning.startswith(_DRIVER_TYPE_QUERIES)
