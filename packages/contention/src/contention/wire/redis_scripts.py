"""Lua scripts: their texts by SHA-1, and whether they touch their declared keys alone."""

import hashlib
import re

from contention.wire.redis_single_key import SINGLE_KEY_READS, SINGLE_KEY_WRITES, words

_SINGLE_KEY = SINGLE_KEY_READS | SINGLE_KEY_WRITES
_ALL_KEYS = words("DEL UNLINK EXISTS TOUCH MGET")
"""Commands of keys alone: with one argument they touch one."""
_CALL = re.compile(
    r"""\b(?:redis|server)\s*\.\s*p?call\s*\(\s*
        (?P<quote>['"])(?P<command>[A-Za-z]+)(?P=quote)\s*,\s*
        KEYS\s*\[\s*[0-9]+\s*\]\s*(?P<next>[,)])""",
    re.VERBOSE,
)
_API = re.compile(r"\b(?:redis|server)\b")
_KEYS = re.compile(r"\bKEYS\b")
_PLAIN_KEY = re.compile(r"\bKEYS\s*\[\s*[0-9]+\s*\](?!\s*=(?!=))")
_ESCAPES = re.compile(
    r"\b(?:_G|_ENV|load|loadstring|loadfile|dofile|require|getfenv|setfenv|debug|dump"
    r"|rawget|rawset|setmetatable|getmetatable)\b|\[=*\[|\\"
)
"""Ways in which Lua can reach the server's API or change a table without naming it."""


class Scripts:
    """The texts of scripts that connections of one server have loaded.

    Attributes:
        kept: the SHA-1s of those that every run begins with: to load one again changes nothing.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._sources: dict[str, bytes] = {}
        self.kept: frozenset[str] = frozenset()

    def remember(self, script: bytes) -> str:
        """Keep a script's text; its SHA-1 in hexadecimal."""
        sha = hashlib.sha1(script, usedforsecurity=False).hexdigest()
        self._texts[sha] = script.decode("utf-8", "backslashreplace")
        self._sources[sha] = script
        return sha

    def keep(self) -> list[bytes]:
        """The scripts known by now, in the order in which they came: runs begin with them."""
        self.kept = frozenset(self._sources)
        return list(self._sources.values())

    def text(self, sha: str) -> str | None:
        """The text behind a SHA-1; None when it was loaded out of sight."""
        return self._texts.get(sha.lower())


def touches_declared_keys_alone(script: str) -> bool:
    """Whether every call of a script names a single-key command and a declared key in plain sight.

    A pattern, not an analysis: everything it cannot see through is "no".
    """
    calls = list(_CALL.finditer(script))
    return (
        not _ESCAPES.search(script)
        and len(calls) == len(_API.findall(script))
        and len(_KEYS.findall(script)) == len(_PLAIN_KEY.findall(script))
        and all(_touches_one_key(call["command"].upper(), call["next"]) for call in calls)
    )


def _touches_one_key(command: str, following: str) -> bool:
    return command in _SINGLE_KEY or (command in _ALL_KEYS and following == ")")
