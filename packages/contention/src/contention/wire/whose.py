"""Whose code runs: every worker has a context of its own, and what it begins inherits it."""

from contextvars import ContextVar
from typing import Final

WORKER: Final[ContextVar[str]] = ContextVar("contention_worker", default="")
"""The worker's name, as in ``w1``; empty for the kit itself."""
