"""See what is asked for and still to do, and have dead letters tried again."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.errors import NotFoundError
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.listed_work import ListedWork, dead_ids, list_work, revive

_BATCH: Final = 1_000
_MOST_BATCHES: Final = 10_000


async def list_pending(
    runtime: Runtime, *, dead_only: bool, after: int, limit: int
) -> list[ListedWork]:
    """Requests that are still to do, in order of their id, from the one after ``after`` on."""

    async def read(connection: AsyncConnection) -> list[ListedWork]:
        return await list_work(connection, dead_only=dead_only, after=after, limit=limit)

    return await retried(runtime, read)


async def try_again(runtime: Runtime, request_ids: Sequence[int]) -> list[int]:
    """Let these requests wait anew, dead or not, with all their attempts before them.

    Raises:
        NotFoundError: one of them is not pending; then none is touched.
    """

    async def work(connection: AsyncConnection) -> list[int]:
        revived = await revive(connection, request_ids, dead_only=False)
        for missing in sorted(set(request_ids) - set(revived)):
            raise NotFoundError("pending request", missing)
        return revived

    return await retried(runtime, work)


async def try_all_dead_again(runtime: Runtime) -> int:
    """Let every dead letter wait anew; how many there were."""
    count, after = 0, 0

    async def work(connection: AsyncConnection) -> tuple[int, int]:
        ids = await dead_ids(connection, after=after, limit=_BATCH)
        revived = await revive(connection, ids, dead_only=True)
        return len(revived), max(ids, default=after)

    for _ in range(_MOST_BATCHES):
        revived, last = await retried(runtime, work)
        count += revived
        if last == after:
            break
        after = last
    return count
