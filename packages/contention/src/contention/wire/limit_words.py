"""The words in which a PostgreSQL ends a wait, learned from the server itself, once."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import asyncpg

from contention.wire.own_connections import connect_postgres
from contention.wire.rewording import LimitWords
from contention.wire.servers import PostgresServer
from contention.wire.time_limits import LOCK, STATEMENT

if TYPE_CHECKING:
    from typing import TypeAlias

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_FIELDS: Final = {
    "severity": "S",
    "severity_en": "V",
    "sqlstate": "C",
    "message": "M",
    "server_source_filename": "F",
    "server_source_line": "L",
    "server_source_function": "R",
}
"""asyncpg's names of what a reason decides, and the protocol's letters."""
_LOCK_KEY: Final = 0x636F6E74656E7469
_WAIT: Final = f"SELECT pg_advisory_lock({_LOCK_KEY})"
_WAITS: Final = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)"
_MOST_LOOKS: Final = 10_000


async def learned_from(server: PostgresServer) -> LimitWords:
    """What a server says; it is made to say everything once, about a lock of the kit's own."""
    holder = await connect_postgres(server)
    waiter = await connect_postgres(server)
    try:
        await holder.execute(_WAIT)
        limits = {}
        for name in (LOCK, STATEMENT):
            await waiter.execute(f"SET {name} = '1ms'")
            limits[name] = await _refusal(waiter)
            await waiter.execute(f"SET {name} = 0")
        return LimitWords(await _cancelled(holder, waiter), limits)
    finally:
        await waiter.close()
        await holder.close()


async def _cancelled(holder: "Connection", waiter: "Connection") -> Mapping[str, str]:
    waiting = asyncio.ensure_future(_refusal(waiter))
    process_id = waiter.get_server_pid()
    for _ in range(_MOST_LOOKS):
        if waiting.done() or await holder.fetchval(_WAITS, process_id):
            break
    await holder.execute(f"SELECT pg_cancel_backend({process_id})")
    return await waiting


async def _refusal(waiter: "Connection") -> Mapping[str, str]:
    try:
        await waiter.execute(_WAIT)
    except asyncpg.PostgresError as error:
        said = {letter: getattr(error, name, None) for name, letter in _FIELDS.items()}
        return {letter: value for letter, value in said.items() if value is not None}
    raise AssertionError("the lock is held")
