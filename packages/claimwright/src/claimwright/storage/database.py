"""Engines, sessions and transactions of the engine's own kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.transaction import Transaction
from sqlalchemy import PoolProxiedConnection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.util import greenlet_spawn

from claimwright.domain.errors import SessionInUseError
from claimwright.server_addresses import engine_arguments
from claimwright.settings import Settings

if TYPE_CHECKING:
    Driver: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Driver: TypeAlias = asyncpg.Connection
"""The driver's own connection, as it lies under SQLAlchemy's."""

_OWN_SESSION = "claimwright"


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """How long a transaction may take, in milliseconds, before PostgreSQL ends it.

    A statement's limit includes its wait for locks. A calculation is at most eight statements, so
    that with the defaults the worst transaction ends well before its lease of 120 seconds.
    """

    statement_ms: int = 5_000
    lock_ms: int = 4_000
    idle_ms: int = 5_000

    @classmethod
    def of(cls, settings: Settings) -> "TransactionLimits":
        """The limits that the settings ask for."""
        return cls(
            settings.statement_timeout_ms,
            settings.lock_timeout_ms,
            settings.idle_in_transaction_timeout_ms,
        )

    def as_parameters(self) -> dict[str, str]:
        """PostgreSQL's names of the limits, with their values as text."""
        return {
            "statement_timeout": str(self.statement_ms),
            "lock_timeout": str(self.lock_ms),
            "idle_in_transaction_session_timeout": str(self.idle_ms),
        }


def make_engine(
    url: str, *, limits: TransactionLimits | None = None, pool_size: int = 20
) -> AsyncEngine:
    """An engine for the application: READ COMMITTED, UTC, bounded waits."""
    parameters = (limits or TransactionLimits()).as_parameters()
    asked = engine_arguments(url)
    name = asked.application_name or "claimwright"
    # SQLAlchemy and the driver each keep prepared statements of their own.
    prepared = (
        {}
        if asked.statements_prepared is None
        else {"statement_cache_size": asked.statements_prepared}
    )
    return create_async_engine(
        asked.url,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={
            **prepared,
            "timeout": asked.timeout_seconds or 5,
            "server_settings": {**parameters, "timezone": "UTC", "application_name": name},
        },
    )


def make_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions that know the engine's limits are set already."""
    return async_sessionmaker(engine, expire_on_commit=False, info={_OWN_SESSION: True})


@asynccontextmanager
async def own_transaction(session: AsyncSession) -> AsyncIterator[AsyncConnection]:
    """A READ COMMITTED transaction of the engine's own on any session, committed at the end.

    A session that somebody else made gets the engine's limits for this transaction alone.

    Raises:
        SessionInUseError: the session is already in a transaction.
    """
    if session.in_transaction():
        raise SessionInUseError("the session is already in a transaction; commit or pass none")
    async with session.begin():
        connection = await session.connection(
            execution_options={"isolation_level": "READ COMMITTED"}
        )
        if not session.info.get(_OWN_SESSION):
            await _set_limits(connection, TransactionLimits())
        yield connection


@asynccontextmanager
async def driver_transaction(database: AsyncSession | AsyncEngine) -> AsyncIterator[Driver]:
    """As `own_transaction`, but with the driver's own connection, for many small statements.

    SQLAlchemy gives the connection and takes it back; it knows nothing of what happens meanwhile,
    so that a connection which broke, or whose transaction could not be ended, is thrown away here.

    Args:
        database: an engine of `make_engine`, or anybody's session.

    Raises:
        SessionInUseError: the session is already in a transaction.
    """
    if isinstance(database, AsyncEngine):
        async with _lent_by_engine(database) as driver, _read_committed(driver):
            yield driver
        return
    async with _lent_by_session(database) as driver, _read_committed(driver):
        if not database.info.get(_OWN_SESSION):
            await driver.execute(*_limiting(TransactionLimits()))
        yield driver


def _read_committed(driver: Driver) -> Transaction:
    return driver.transaction(isolation="read_committed")


@asynccontextmanager
async def _lent_by_engine(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """A connection straight out of the pool: an object of SQLAlchemy's around it costs more."""
    try:
        lent = await engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(None, None, error, Exception, dialect=engine.dialect) from error
    driver = _driver_of(lent)
    try:
        yield driver
    finally:
        await greenlet_spawn(lent.invalidate if _is_unfit(driver) else lent.close)


@asynccontextmanager
async def _lent_by_session(session: AsyncSession) -> AsyncIterator[Driver]:
    if session.in_transaction():
        raise SessionInUseError("the session is already in a transaction; commit or pass none")
    async with session.begin():
        connection = await session.connection()
        driver = _driver_of(await connection.get_raw_connection())
        try:
            yield driver
        finally:
            if _is_unfit(driver):
                await connection.invalidate()


def _driver_of(lent: PoolProxiedConnection) -> Driver:
    driver: Driver | None = lent.driver_connection
    assert driver is not None  # noqa: S101 - a connection that was just lent has one
    return driver


def _is_unfit(driver: Driver) -> bool:
    return bool(driver.is_closed() or driver.is_in_transaction())


@asynccontextmanager
async def snapshot(
    session: AsyncSession, *, statement_minutes: int
) -> AsyncIterator[AsyncConnection]:
    """One unchanging, read-only view of the whole database, for as long as the block runs.

    Raises:
        SessionInUseError: the session is already in a transaction.
    """
    if session.in_transaction():
        raise SessionInUseError("the session is already in a transaction; commit or pass none")
    async with session.begin():
        connection = await session.connection(
            execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        longest_ms = statement_minutes * 60_000
        await _set_limits(connection, TransactionLimits(longest_ms, 4_000, longest_ms))
        yield connection


def _limiting(limits: TransactionLimits) -> tuple[str, ...]:
    """A statement that sets limits for the rest of its transaction, and its arguments."""
    values = limits.as_parameters()
    calls = (f"set_config('{name}', ${place}, true)" for place, name in enumerate(values, 1))
    return f"SELECT {', '.join(calls)}", *values.values()


async def _set_limits(connection: AsyncConnection, limits: TransactionLimits) -> None:
    calls = ", ".join(f"set_config('{name}', :{name}, true)" for name in limits.as_parameters())
    await connection.execute(text(f"SELECT {calls}"), limits.as_parameters())
