"""What an attempt of asked work is, whatever the work.

::

    worker  BEGIN, attempts + 1, COMMIT ── the work, which commits by itself ── look back
                                    └─ the worker dies: the attempt is counted all the same

So work that fails, or kills its worker, is begun a bounded number of times, whoever delivers it
again: a retry, the broker, or the relay. Then it is a dead letter, until somebody asks anew.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID

from claimwright.domain.errors import CalculationError, ClaimwrightError
from claimwright.operations.transactions import retried, transaction
from claimwright.runtime import Runtime
from claimwright.storage.handing_on import notify
from claimwright.storage.requests import RequestKind
from claimwright.storage.transients import DATABASE_ERRORS, said_by_database, sqlstate_of
from claimwright.storage.work_attempts import Standing, standing_of

#: The part of a task's time after which it is cancelled; the rest is for ending it.
_SOFT_LIMIT: Final = 0.9

Outcome = TypeVar("Outcome")


class Result(StrEnum):
    """What has become of an attempt."""

    FINISHED = "finished"
    PLANNED = "planned"
    """Cut into chunks, which are still to do."""
    ADVANCED = "advanced"
    """A chunk is done; others of its request are not."""
    ASKED_AGAIN = "asked again"
    """It was asked for once more meanwhile, so that it is still to do."""
    FAILED = "failed"
    """To be done again."""
    DEAD = "dead"
    """Given up: a dead letter."""
    NOTHING = "nothing to do"
    """Finished or given up before."""
    UNKNOWN = "unknown"
    """There is no such request."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one request, or of one of its chunks.

    Attributes:
        number: which attempt it was; 0 when none was made.
        chunk: the number of the chunk.
        calculation_id: what its claims carry.
        reason: why it failed, or was given up.
        error: what was raised, where nobody expected it.
    """

    kind: RequestKind
    request_id: int
    result: Result
    generation: int = 0
    number: int = 0
    chunk: int | None = None
    calculation_id: UUID | None = None
    claims: int | None = None
    reason: str = ""
    error: Exception | None = None


async def in_time(runtime: Runtime, work: Awaitable[Outcome]) -> Outcome:
    """Do work, and cancel it before the task that does it is killed.

    Raises:
        CalculationError: it took longer.
    """
    seconds = runtime.settings.task_seconds * _SOFT_LIMIT
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise CalculationError(f"it took longer than the {seconds:g} s that work may") from error


def worker_ended(attempts: int) -> str:
    """Why work is given up of which nobody could say what happened."""
    return f"begun {attempts} times, and each time its worker ended in the middle of it"


def reason_of(error: BaseException) -> str:
    """What an error says to people: our own sentences; of others the class, never their values."""
    if isinstance(error, ClaimwrightError):
        return str(error)
    if isinstance(error, DATABASE_ERRORS):
        return said_by_database(sqlstate_of(error) or type(error).__name__)
    return f"unexpected {type(error).__name__}"


def unexpected(error: Exception | None) -> Exception | None:
    """An error whose traceback somebody should see; `None` for those that `reason_of` tells."""
    return None if isinstance(error, (ClaimwrightError, *DATABASE_ERRORS)) else error


async def standings(runtime: Runtime, generations: Mapping[int, int]) -> dict[int, Standing]:
    """What has become of these generations of requests, by request."""
    return await retried(runtime, lambda connection: standing_of(connection, generations))


async def wake_relays(runtime: Runtime) -> None:
    """Have the relays look for work now."""
    async with transaction(runtime) as connection:
        await notify(connection)
