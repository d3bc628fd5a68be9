"""The schema's version: created and upgraded by migrations, and by nothing else."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from claimwright.server_addresses import engine_arguments
from claimwright.storage.known_names import add_known_names

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


async def upgrade(owner_url: str) -> None:
    """Bring the schema to the newest revision, and the names it knows to those of the rules.

    A second call by the same version, with the same time zone data, changes nothing.

    Args:
        owner_url: a SQLAlchemy address of the role that owns, or will own, the schema.
    """
    asked = engine_arguments(owner_url)
    connect = {
        "timeout": asked.timeout_seconds or 60,
        "server_settings": {"application_name": asked.application_name or "claimwright init"},
    }
    engine = create_async_engine(asked.url, poolclass=NullPool, connect_args=connect)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()
            await add_known_names(connection)
            await connection.commit()
    finally:
        await engine.dispose()


def upgrade_now(owner_url: str) -> None:
    """`upgrade` for callers without an event loop."""
    asyncio.run(upgrade(owner_url))


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
