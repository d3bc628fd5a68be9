"""Transactions of operations: one read, and one that is done again after a passing error."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.metrics import TRANSACTIONS_RETRIED
from claimwright.runtime import Runtime
from claimwright.storage.database import own_transaction
from claimwright.storage.transients import is_transient, sqlstate_of

Outcome = TypeVar("Outcome")
#: A transaction under a lease lasts 80 s at worst (eight statements of 5 s with idles of 5 s
#: between them); with retries begun within 30 s, the last one ends before the lease's 120 s.
LEASED_RETRY_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 60.0
_ATTEMPTS: Final = 6
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 1.0


@asynccontextmanager
async def transaction(runtime: Runtime) -> AsyncIterator[AsyncConnection]:
    """A READ COMMITTED transaction on a session of its own, committed at the end."""
    async with runtime.sessions() as session, own_transaction(session) as connection:
        yield connection


async def retried(
    runtime: Runtime, work: Callable[[AsyncConnection], Awaitable[Outcome]]
) -> Outcome:
    """Do work in a transaction of its own, again after an error that passes, so many times.

    The work must be such that doing it twice is doing it once: the reply to a COMMIT may be lost.
    """
    async for attempt in attempts(_RETRY_SECONDS):
        with attempt:
            async with transaction(runtime) as connection:
                return await work(connection)
    raise AssertionError("a retry context ends by returning or raising")


def attempts(retry_seconds: float) -> AsyncIterable[stamina.Attempt]:
    """Tries of one transaction: again after an error that passes, and so many times at most.

    Args:
        retry_seconds: how long after the first try another one may begin.
    """
    return stamina.retry_context(
        on=_counts_as_transient,
        attempts=_ATTEMPTS,
        timeout=retry_seconds,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_LONGEST_WAIT_SECONDS,
        wait_jitter=_FIRST_WAIT_SECONDS,
    )


def _counts_as_transient(error: Exception) -> bool:
    if not is_transient(error):
        return False
    TRANSACTIONS_RETRIED.labels(sqlstate_of(error) or "").inc()
    return True
