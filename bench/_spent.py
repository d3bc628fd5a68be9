"""What a stretch of work took: time, processor time by program, and what PostgreSQL waited for."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from sqlalchemy import text

from claimwright.runtime import Runtime

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.02
_FLUSHES: Final = text(
    """
    SELECT (SELECT wal_bytes FROM pg_stat_wal),
           (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND context = 'normal')
    """
)
_WAITS: Final = text(
    """
    SELECT CASE WHEN state <> 'active' OR wait_event_type = 'Client' THEN 'the client'
                WHEN wait_event IS NULL THEN 'nothing'
                WHEN wait_event IN ('WalSync', 'WalWrite', 'WALWrite') THEN 'the log'
                ELSE 'locks and the rest' END
    FROM pg_stat_activity
    WHERE application_name = 'claimwright' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    """
)


def processor_seconds(process: int) -> float:
    """Processor time of a process and of its children, those that have ended included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        if stat.parent.name == str(process):
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == str(process):
            ticks += sum(map(int, fields[11:13]))
    return ticks / _TICKS_A_SECOND


def postmaster_of(runtime: Runtime) -> int:
    """The process id of the embedded server's first process."""
    folder = runtime.addresses.folder
    assert folder is not None
    pid_file = next(folder.rglob("postmaster.pid"))
    return int(pid_file.read_text(encoding="ascii").splitlines()[0])


@dataclass(slots=True)
class Spent:
    """Seconds, processor seconds, bytes and flushes of a stretch of work.

    Attributes:
        client: this process's, or its children's where they did the work.
        waits: how often a backend in a transaction was seen waiting for what.
    """

    seconds: float = 0.0
    client: float = 0.0
    postgres: float = 0.0
    redis: float = 0.0
    log_bytes: float = 0.0
    flushes: float = 0.0
    waits: Counter[str] = field(default_factory=Counter)

    def __sub__(self, other: Self) -> "Spent":
        return Spent(
            self.seconds - other.seconds,
            self.client - other.client,
            self.postgres - other.postgres,
            self.redis - other.redis,
            self.log_bytes - other.log_bytes,
            self.flushes - other.flushes,
        )

    def told(self, claims: int) -> dict[str, float]:
        """The figures a claim: microseconds, bytes, flushes, and the shares of the waits."""
        seen = self.waits.total() or 1
        return {
            "claims_a_second": claims / self.seconds,
            "client_us": 1e6 * self.client / claims,
            "postgres_us": 1e6 * self.postgres / claims,
            "redis_us": 1e6 * self.redis / claims,
            "log_bytes": self.log_bytes / claims,
            "flushes": self.flushes / claims,
            "cores_used": (self.client + self.postgres + self.redis) / self.seconds,
            **{f"waits for {what}": count / seen for what, count in sorted(self.waits.items())},
        }


class Meter:
    """Reads what has been spent on one pair of servers so far."""

    def __init__(self, runtime: Runtime, redis: int) -> None:
        self._runtime = runtime
        self._postmaster = postmaster_of(runtime)
        self._redis = redis

    @classmethod
    async def on(cls, runtime: Runtime) -> Self:
        """A meter of a runtime on embedded servers."""
        return cls(runtime, (await runtime.redis.info("server"))["process_id"])

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[Spent]:
        """What the block took; filled in when it ends."""
        spent = Spent()
        before = await self._so_far()
        watching = asyncio.create_task(_watch(self._runtime, spent.waits))
        yield spent
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        took = await self._so_far() - before
        for name in ("seconds", "client", "postgres", "redis", "log_bytes", "flushes"):
            setattr(spent, name, getattr(took, name))

    async def _so_far(self) -> Spent:
        async with self._runtime.engine.connect() as connection:
            log_bytes, flushes = (await connection.execute(_FLUSHES)).one()
        times = os.times()
        return Spent(
            time.perf_counter(),
            times.children_user + times.children_system,
            processor_seconds(self._postmaster),
            processor_seconds(self._redis),
            float(log_bytes),
            float(flushes),
        )


async def _watch(runtime: Runtime, waits: Counter[str]) -> None:
    while True:
        async with runtime.engine.connect() as connection:
            waits.update((await connection.execute(_WAITS)).scalars())
        await asyncio.sleep(_SAMPLE_SECONDS)
