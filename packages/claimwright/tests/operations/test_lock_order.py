"""Several policies are locked in rising order of id, so that nobody waits in a circle."""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from claimwright.runtime import Runtime
from claimwright.storage.policies import lock_policies
from claimwright.storage.transients import sqlstate_of
from support.databases import Connections
from support.ordering import wait_until_blocked

from .staging import insure

FALLING = text("SELECT FROM policies WHERE id = ANY(:ids) ORDER BY id DESC FOR NO KEY UPDATE")


async def lock_both_from_both_ends(
    runtime: Runtime, connections: Connections, *, falling: bool
) -> list[str | None]:
    """Two workers name two policies in opposite orders while a third holds the lower one.

    Args:
        falling: whether the second worker locks without the helper, from the higher id down.

    Returns:
        The SQLSTATE each of the workers ended with, `None` for success.
    """
    third, watcher = await connections.application(), await connections.superuser()
    ids = [(await insure(runtime.sessions)).id for _ in range(2)]
    await third.execute("BEGIN")
    await third.execute("SELECT FROM policies WHERE id = $1 FOR UPDATE", min(ids))

    async def lock(order: list[int], *, by_hand: bool, pid: asyncio.Future[int]) -> str | None:
        async with runtime.engine.connect() as connection:
            pid.set_result(await connection.scalar(text("SELECT pg_backend_pid()")))
            try:
                if by_hand:
                    await connection.execute(FALLING, {"ids": order})
                else:
                    await lock_policies(connection, order)
            except DBAPIError as error:
                return sqlstate_of(error)
        return None

    workers = []
    for order, by_hand in ((ids, False), (ids[::-1], falling)):
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        workers.append(asyncio.create_task(lock(order, by_hand=by_hand, pid=pid)))
        await wait_until_blocked(watcher, await pid)
    await third.execute("COMMIT")
    return [await worker for worker in workers]


async def test_the_helper_never_deadlocks(runtime: Runtime, connections: Connections) -> None:
    assert await lock_both_from_both_ends(runtime, connections, falling=False) == [None, None]


async def test_the_opposite_order_deadlocks_without_the_helper(
    runtime: Runtime, connections: Connections
) -> None:
    ended = await lock_both_from_both_ends(runtime, connections, falling=True)
    assert set(ended) == {None, "40P01"}
