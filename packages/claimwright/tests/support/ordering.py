"""Forcing an order of events: the server says who waits for whom, so nothing sleeps."""

import asyncio
from typing import Any, Final, NamedTuple

from .databases import Connection

PATIENCE_SECONDS: Final = 20
"""Only a test that fails waits this long."""


class Waiting(NamedTuple):
    """A session that waits for a lock, and the statement it waits in."""

    pid: int
    statement: str


async def wait_until_blocked(watcher: Connection, pid: int) -> None:
    """Return once the session waits for a lock that another one holds.

    Args:
        watcher: a third connection, in no transaction, that does nothing else meanwhile.
        pid: the session's process id, as `Connection.get_server_pid` says it.

    Raises:
        TimeoutError: the session never waited.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await watcher.fetchval("SELECT pg_blocking_pids($1)", pid):
            pass


async def wait_until_blocked_by(
    watcher: Connection, pid: int, *, how_many: int = 1
) -> list[Waiting]:
    """Return once so many sessions wait for the one with that process id; who they are.

    Raises:
        TimeoutError: fewer ever waited.
    """
    query = """
        SELECT pid, query FROM pg_stat_activity
        WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid)) ORDER BY pid
        """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(rows := await watcher.fetch(query, pid)) < how_many:
            pass
    return [Waiting(*row) for row in rows]


async def blocks(watcher: Connection, pid: int, task: asyncio.Task[Any]) -> bool:
    """Whether what a session does in this task comes to wait for a lock; false once it is done.

    Raises:
        TimeoutError: neither happened.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not task.done():
            if await watcher.fetchval("SELECT pg_blocking_pids($1)", pid):
                return True
        return False
