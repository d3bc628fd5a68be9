"""Transactions of operations: one read, and one that is done again after a passing error."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.metrics import TRANSACTIONS_RETRIED
from claimwright.runtime import Runtime
from claimwright.storage.database import own_transaction
from claimwright.storage.transients import is_transient, sqlstate_of

Outcome = TypeVar("Outcome")
_ATTEMPTS: Final = 6
_RETRY_SECONDS: Final = 60.0
_FIRST_WAIT_SECONDS: Final = 0.05


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
    attempts = stamina.retry_context(
        on=_counts_as_transient,
        attempts=_ATTEMPTS,
        timeout=_RETRY_SECONDS,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_jitter=_FIRST_WAIT_SECONDS,
    )
    async for attempt in attempts:
        with attempt:
            async with transaction(runtime) as connection:
                return await work(connection)
    raise AssertionError("a retry context ends by returning or raising")


def _counts_as_transient(error: Exception) -> bool:
    if not is_transient(error):
        return False
    TRANSACTIONS_RETRIED.labels(sqlstate_of(error) or "").inc()
    return True
