"""Words of an SQL text: what it calls, changes and locks, in doubt too much.

Nothing is concluded here about tables: the server is asked about those.
"""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

from contention.wire.postgres_sql import tokens

_HARMLESS_WORDS: Final = """
    abs age all and any array as asc avg between bit bool_and bool_or by case cast char
    character check clock_timestamp coalesce columns concat concat_ws conflict constraint
    convert_from convert_to count cross current_date current_timestamp date_part date_trunc
    decimal default delete desc distinct do else end except exists extract filter for foreign
    format from full gen_random_uuid greatest group grouping having if ilike in inner insert
    intersect interval into is join json_build_array json_build_object jsonb_build_array
    jsonb_build_object key lateral least left length like limit localtimestamp loop lower
    matched max merge min natural not now nullif numeric of offset on only or order outer over
    overlaps partition perform pg_trigger_depth primary random range references return returning
    right round row row_to_json rows select set similar some statement_timestamp substring sum
    table then time timestamp timestamptz timezone to_char to_date to_json to_jsonb to_number
    to_timestamp transaction_timestamp trim union unique update upper using uuidv4 uuidv7 values
    varchar varying when where while window with within
    """
HARMLESS: Final = frozenset(_HARMLESS_WORDS.split())
"""Words before a parenthesis that are no function, and functions that look at their arguments, at
the clock or at chance alone."""
_SHOWN_VERBS: Final = frozenset(
    {"select", "insert", "update", "delete", "with", "values", "table", "merge", "lock", "truncate"}
)
_LOOKING_VERBS: Final = _SHOWN_VERBS - {"lock", "truncate"}
_OTHER_WORDS: Final = """
    abort begin checkpoint close commit copy deallocate declare end execute fetch listen move notify
    prepare release reset rollback savepoint set show start unlisten
    """
_KNOWN_VERBS: Final = _SHOWN_VERBS | frozenset(_OTHER_WORDS.split())
_CHANGING: Final = frozenset({"insert", "update", "delete", "merge"})
_LOCKING: Final = frozenset({"update", "share", "no", "key"})
_OF_SESSION: Final = frozenset(
    {"close", "deallocate", "discard", "listen", "notify", "reset", "set", "show", "unlisten"}
)
_BODIES: Final = frozenset({"call", "do"})
_WRITES: Final = frozenset({"insert", "merge"})
_CAREFUL: Final = frozenset({"share", "nowait", "skip"})
_STATEMENT_STARTS: Final = frozenset({"", ";", "begin", "atomic", "then", "else", "loop"})
_UNICODE_NAME: Final = re.compile(r"(?i)\bu&[\"']")


@lru_cache(maxsize=1024)
def words_of(sql: str) -> tuple[str, ...]:
    """The words and quoted names of a text in order, names without their quotes.

    Words are in small letters, quoted names as they are.
    """
    return tuple(_name(kind, text) for kind, text in tokens(sql) if kind in {"word", "name"})


@lru_cache(maxsize=1024)
def calls(sql: str) -> frozenset[str]:
    """The words before an opening parenthesis, but for an INSERT's table and names after AS."""
    found = set()
    latest, before = "", ""
    is_table = False
    for kind, text in tokens(sql):
        if kind in {"word", "name"}:
            is_table = before in {"into", "as"} or (is_table and before == ".")
            latest = _name(kind, text)
            before = latest if kind == "word" else ""
        else:
            if text == "(" and latest and not is_table:
                found.add(latest)
            latest = ""
            is_table = is_table and text == "."
            before = text
    return frozenset(found)


@lru_cache(maxsize=1024)
def first_word(sql: str) -> str:
    """The first word, in small letters; empty for a text that begins with something else."""
    for kind, text in tokens(sql):
        if kind == "word":
            return text.lower()
        if text != "(":
            return ""
    return ""


def is_shown(sql: str, harmless: frozenset[str]) -> bool:
    """Whether locks on tables tell all that one statement does.

    Args:
        sql: one statement.
        harmless: functions that may be called.
    """
    return first_word(sql) in _SHOWN_VERBS and not _makes_a_table(sql) and calls(sql) <= harmless


@lru_cache(maxsize=1024)
def _may_lock_or_write(sql: str) -> bool:
    words = words_of(sql)
    locks = any(word == "for" and after in _LOCKING for word, after in pairwise(words))
    return locks or first_word(sql) not in _LOOKING_VERBS or not _CHANGING.isdisjoint(words)


def only_looks(sql: str, harmless: frozenset[str]) -> bool:
    """Whether one statement certainly locks and changes nothing that others can see.

    Args:
        sql: one statement.
        harmless: functions that may be called.
    """
    return not _may_lock_or_write(sql) and is_shown(sql, harmless)


def runs_a_body(sql: str, functions: frozenset[str]) -> bool:
    """Whether one statement runs others that are not its own words.

    Args:
        sql: one statement.
        functions: that the database's users have made.
    """
    return first_word(sql) in _BODIES or not functions.isdisjoint(calls(sql))


def is_of_session(sql: str) -> bool:
    """Whether one statement certainly is about its session alone, or about messages."""
    return first_word(sql) in _OF_SESSION


def takes_snapshot(sql: str) -> bool:
    """Whether it is certain that one statement looks at rows, or a text's first one does."""
    return first_word(sql) in _LOOKING_VERBS


def defines_nothing(sql: str, known: frozenset[str]) -> bool:
    """Whether one statement certainly leaves the database's definitions as they are.

    Args:
        sql: one statement.
        known: functions that define nothing.
    """
    return first_word(sql) in _KNOWN_VERBS and not _makes_a_table(sql) and calls(sql) <= known


@lru_cache(maxsize=1024)
def _makes_a_table(sql: str) -> bool:
    pairs = pairwise(("", *words_of(sql)))
    return any(word == "into" and before not in _WRITES for before, word in pairs)


def sets_a_setting(body: str) -> bool:
    """Whether a function's body has a SET that is no part of an UPDATE."""
    texts = ["", *(text.lower() for _, text in tokens(body))]
    return any(text == "set" and before in _STATEMENT_STARTS for before, text in pairwise(texts))


def locks_rows_alone(sql: str) -> bool:
    """Whether rows are locked, if at all, for the transaction alone, waiting without a limit."""
    return not _CAREFUL & set(words_of(sql))


def may_set(sql: str, columns: frozenset[str]) -> bool:
    """Whether an UPDATE may set one of the columns; `True` when in doubt."""
    words = words_of(sql)
    if _UNICODE_NAME.search(sql) or words.count("where") != 1:
        return True
    return bool(columns & set(words[: words.index("where")]))


def _name(kind: str, text: str) -> str:
    return text.lower() if kind == "word" else text[1:-1].replace('""', '"')
