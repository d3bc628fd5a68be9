"""Concurrent control, section 2: locks of the database. Each transaction has its own session."""

import asyncio

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from claimwright import RiskEvent, get_session
from claimwright.testing import create_test_risk_event
from support.databases import Connections
from support.ordering import PATIENCE_SECONDS, wait_until_blocked, wait_until_blocked_by


def locking(event_id: int) -> object:
    return select(RiskEvent).where(RiskEvent.id == event_id).with_for_update()


async def pid_of(session: AsyncSession) -> int:
    return int(await session.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_for_update_blocks_concurrent_read(
    db_session: AsyncSession, connections: Connections
) -> None:
    """The read that waits is one that locks too."""
    watcher = await connections.superuser()
    event = await create_test_risk_event(db_session)
    event_id = event.id
    await db_session.commit()
    results: list[tuple[str, str]] = []
    locked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def transaction1() -> None:
        async with get_session() as session, session.begin():
            await session.execute(locking(event_id))  # type: ignore[call-overload]
            results.append(("t1", "locked"))
            pid = await pid_of(session)
            locked.set_result(pid)
            await wait_until_blocked_by(watcher, pid)
            results.append(("t1", "released"))

    async def transaction2() -> None:
        await locked
        async with get_session() as session, session.begin():
            await session.execute(locking(event_id))  # type: ignore[call-overload]
            results.append(("t2", "acquired"))

    await asyncio.gather(transaction1(), transaction2())

    assert results == [("t1", "locked"), ("t1", "released"), ("t2", "acquired")]


async def test_for_update_does_not_block_a_plain_read(db_session: AsyncSession) -> None:
    event = await create_test_risk_event(db_session)
    await db_session.commit()
    async with get_session() as session, session.begin():
        await session.execute(locking(event.id))  # type: ignore[call-overload]
        async with asyncio.timeout(PATIENCE_SECONDS), get_session() as reader:
            plain = select(RiskEvent.tier_level).where(RiskEvent.id == event.id)
            assert await reader.scalar(plain) == "tier1"


async def lock_two_events(
    connections: Connections, event_ids: list[int], *, sort: bool
) -> list[str]:
    """Two workers want two events, the second in the opposite order; how each of them ended.

    Both take their first lock before either asks for its second, where the locks allow that.
    """
    watcher = await connections.superuser()
    have_first = [asyncio.Event(), asyncio.Event()]
    pids: list[asyncio.Future[int]] = [
        asyncio.get_running_loop().create_future() for _ in have_first
    ]

    async def process_events(worker: int, wanted: list[int]) -> str:
        first, second = sorted(wanted) if sort else wanted
        try:
            async with get_session() as session, session.begin():
                pids[worker].set_result(await pid_of(session))
                await session.execute(locking(first))  # type: ignore[call-overload]
                have_first[worker].set()
                await everybody_has_begun(1 - worker)
                await session.execute(locking(second))  # type: ignore[call-overload]
        except DBAPIError as error:
            return str(getattr(error.orig, "sqlstate", error))
        return "done"

    async def everybody_has_begun(other: int) -> None:
        has_first = asyncio.create_task(have_first[other].wait())
        waits = asyncio.create_task(wait_until_blocked(watcher, await pids[other]))
        await asyncio.wait({has_first, waits}, return_when=asyncio.FIRST_COMPLETED)
        for task in (has_first, waits):
            task.cancel()
        await asyncio.gather(has_first, waits, return_exceptions=True)

    workers = asyncio.gather(process_events(0, event_ids), process_events(1, event_ids[::-1]))
    return list(await workers)


async def two_events(session: AsyncSession) -> list[int]:
    events = [
        await create_test_risk_event(session, id=1),
        await create_test_risk_event(session, id=2),
    ]
    ids = [event.id for event in events]
    await session.commit()
    return ids


async def test_consistent_lock_ordering_prevents_deadlock(
    db_session: AsyncSession, connections: Connections
) -> None:
    ids = await two_events(db_session)
    assert await lock_two_events(connections, ids, sort=True) == ["done", "done"]


async def test_opposite_lock_ordering_deadlocks(
    db_session: AsyncSession, connections: Connections
) -> None:
    ids = await two_events(db_session)
    ended = await lock_two_events(connections, ids, sort=False)
    assert sorted(ended) == ["40P01", "done"]
