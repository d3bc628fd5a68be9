"""Transactions of operations: one read, and one that is done again after a passing error."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.metrics import TRANSACTIONS_RETRIED
from claimwright.runtime import Runtime
from claimwright.storage.database import Driver, driver_transaction, own_transaction
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

    async def once(_number: int) -> Outcome:
        async with transaction(runtime) as connection:
            return await work(connection)

    return await until_done(once, _RETRY_SECONDS)


async def retried_by_driver(
    runtime: Runtime, work: Callable[[Driver], Awaitable[Outcome]]
) -> Outcome:
    """As `retried`, on the driver's own connection."""

    async def once(_number: int) -> Outcome:
        async with driver_transaction(runtime.engine) as driver:
            return await work(driver)

    return await until_done(once, _RETRY_SECONDS)


async def until_done(once: Callable[[int], Awaitable[Outcome]], retry_seconds: float) -> Outcome:
    """Try a transaction: again after an error that passes, and so many times at most.

    The first try goes without the machinery of retrying, which costs more than a statement.

    Args:
        once: one try, given its number: 1, 2 …
        retry_seconds: how long after the first try another one may begin.
    """
    try:
        return await once(1)
    except Exception as error:
        if not _counts_as_transient(error):
            raise
    async for attempt in stamina.retry_context(
        on=_counts_as_transient,
        attempts=_ATTEMPTS - 1,
        timeout=retry_seconds,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_LONGEST_WAIT_SECONDS,
        wait_jitter=_FIRST_WAIT_SECONDS,
    ):
        with attempt:
            return await once(attempt.num + 1)
    raise AssertionError("a retry context ends by returning or raising")


def _counts_as_transient(error: Exception) -> bool:
    if not is_transient(error):
        return False
    TRANSACTIONS_RETRIED.labels(sqlstate_of(error) or "").inc()
    return True
