"""Words in SQL, or in what it runs, that matter wherever they stand: found too often, never missed.

Whoever makes up the names of settings when a function runs may set any of them.
"""

import re
from functools import lru_cache
from typing import Final

_KEPT_TEXTS: Final = 256
"""Every run of a search asks the same."""
_LIMITS: Final = re.compile(r"\b(?:lock|statement|transaction)_timeout\b", re.IGNORECASE)
_NO_LIMIT: Final = re.compile(r"\w+_timeout\s*(?:=|\bto\b)\s*'?0+'?\s*;?\s*\Z", re.IGNORECASE)
_RAISES: Final = re.compile(r"\braise\s+exception\b", re.IGNORECASE)
_HANDLES: Final = re.compile(
    r"\bexception\b|\bcreate\s+(?:extension|(?:\w+\s+)*language)\b", re.IGNORECASE
)
_ANY_SETTING: Final = re.compile(r"\bset_config\s*\(\s*+(?!')", re.IGNORECASE)
_COUNTS: Final = re.compile(r"\btrack_counts\b", re.IGNORECASE)
_ASKS: Final = re.compile(r"\s*show\b", re.IGNORECASE)


@lru_cache(maxsize=_KEPT_TEXTS)
def limits_waits(text: str) -> bool:
    """Whether a text may set a time after which the server ends a wait by an error."""
    is_limit = _LIMITS.search(text) is not None and _NO_LIMIT.search(text) is None
    return is_limit or _ANY_SETTING.search(text) is not None


@lru_cache(maxsize=_KEPT_TEXTS)
def stops_counting(text: str) -> bool:
    """Whether a text may turn off the counts of what is changed, which superusers can."""
    if _ASKS.match(text):
        return False
    return _COUNTS.search(text) is not None or _ANY_SETTING.search(text) is not None


@lru_cache(maxsize=_KEPT_TEXTS)
def mentions_limits(text: str) -> bool:
    """Whether a text has to do with a time limit of the server's, if it only asks for one."""
    return _LIMITS.search(text) is not None or _ANY_SETTING.search(text) is not None


@lru_cache(maxsize=_KEPT_TEXTS)
def handles_errors(text: str) -> bool:
    """Whether what a text runs or defines may catch an error inside of the server."""
    return _HANDLES.search(_RAISES.sub("", text)) is not None
