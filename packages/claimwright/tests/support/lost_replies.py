"""Losing the reply to a COMMIT for real: the server has committed and the client never hears it.

A commit that waits for a standby which does not exist is durable already. Ending its session at
that moment is what a broken network at that moment is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from .databases import Connection
from .ordering import PATIENCE_SECONDS

_WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'SyncRep'
    """


@asynccontextmanager
async def replies_to_commit_lost(
    superuser: Connection, probe: Connection
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """While it is open every commit of the server waits; the value it gives loses one reply.

    After that the server is as it was, so that a second try can commit.

    Args:
        superuser: watches, and ends the session whose reply is lost.
        probe: commits until a commit is seen to wait; any role.
    """
    # The checkpointer puts the setting into force, once it is not in the middle of its own work.
    await superuser.execute("CHECKPOINT")
    await superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await superuser.execute("SELECT pg_reload_conf()")
    try:
        await _see_a_commit_wait(superuser, probe)
        yield lambda: _lose_one(superuser)
    finally:
        await _repair(superuser)


async def _see_a_commit_wait(superuser: Connection, probe: Connection) -> None:
    """The setting comes into force a moment after the reload."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            commit = asyncio.create_task(probe.execute("SELECT pg_current_xact_id()"))
            while not commit.done():
                if pid := await superuser.fetchval(_WAITING):
                    await superuser.execute("SELECT pg_cancel_backend($1)", pid)
                    await commit
                    return


async def _lose_one(superuser: Connection) -> None:
    await _until(superuser, f"SELECT EXISTS ({_WAITING})")
    await superuser.execute(f"SELECT pg_terminate_backend(pid) FROM ({_WAITING}) waiting")
    await _repair(superuser)


async def _repair(superuser: Connection) -> None:
    await superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await superuser.execute("SELECT pg_reload_conf()")
    await _until(superuser, "SELECT current_setting('synchronous_standby_names') = ''")


async def _until(superuser: Connection, question: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await superuser.fetchval(question):
            pass
