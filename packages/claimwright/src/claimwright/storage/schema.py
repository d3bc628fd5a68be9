"""The schema's version: created and upgraded by migrations, and by nothing else."""

import asyncio
from pathlib import Path
from typing import Final

import stamina
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from claimwright.server_addresses import engine_arguments
from claimwright.storage.known_names import add_known_names
from claimwright.storage.transients import sqlstate_of

_LOCK_NOT_AVAILABLE: Final = "55P03"
_PATIENCE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 1.0
_MIGRATIONS = Path(__file__).with_name("migrations")


def newest_revision() -> str:
    """The revision this version of the package was written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return str(head)


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision the database is at; `None` where it has no schema yet."""
    return await connection.run_sync(
        lambda sync: MigrationContext.configure(sync).get_current_revision()
    )


async def upgrade(owner_url: str, *, revision: str = "head", lock_ms: int = 2_000) -> None:
    """Bring the schema to the newest revision, and the names it knows to those of the rules.

    A second call by the same version, with the same time zone data, changes nothing. Workers may
    run meanwhile. A change that has to wait for one of their transactions is given up after a
    moment and begun again, because everybody else waits behind whoever waits for a whole table.

    Args:
        owner_url: a SQLAlchemy address of the role that owns, or will own, the schema.
        revision: the one to go to.
        lock_ms: how long one try waits for a lock.

    Raises:
        sqlalchemy.exc.DBAPIError: with SQLSTATE 55P03 when some transaction was in the way for
            a minute; nothing has changed.
    """
    asked = engine_arguments(owner_url)
    connect = {
        "timeout": asked.timeout_seconds or 60,
        "server_settings": {
            "application_name": asked.application_name or "claimwright init",
            "lock_timeout": str(lock_ms),
        },
    }
    engine = create_async_engine(asked.url, poolclass=NullPool, connect_args=connect)
    try:
        async for attempt in stamina.retry_context(
            on=_waited_in_vain, attempts=None, timeout=_PATIENCE_SECONDS, wait_max=_PAUSE_SECONDS
        ):
            with attempt:
                async with engine.connect() as connection:
                    await connection.run_sync(_upgrade, revision)
                    await connection.commit()
                    await add_known_names(connection)
                    await connection.commit()
    finally:
        await engine.dispose()


def upgrade_now(owner_url: str) -> None:
    """`upgrade` for callers without an event loop."""
    asyncio.run(upgrade(owner_url))


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _waited_in_vain(error: Exception) -> bool:
    return sqlstate_of(error) == _LOCK_NOT_AVAILABLE


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
