"""An exploration replaces nothing in anybody's modules, a driver's or Python's own."""

import asyncio
import sys
from collections.abc import Iterator
from types import ModuleType

import psycopg
import redis
from redis.asyncio import Redis
from sqlalchemy import create_engine, text

from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import add_one_locked, found_by

WATCHED = (
    *("asyncio", "socket", "selectors", "ssl", "time", "threading", "random", "uuid", "datetime"),
    *("asyncpg", "psycopg", "psycopg2", "sqlalchemy", "redis", "celery", "kombu", "greenlet"),
)

OF_SQLALCHEMY = {f"psycopg2.extensions.{name}" for name in ("UUID", "UUIDARRAY")}
"""What psycopg2's own ``register_uuid`` makes anew on every connection of SQLAlchemy's."""


async def by_tasks(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as client:
        await client.incr("seen")
    async with await psycopg.AsyncConnection.connect(links.postgres_url) as connection:
        await connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 2")
    await asyncio.sleep(1)


def by_threads(links: Links) -> None:
    with redis.Redis.from_url(links.redis_url) as client:
        client.incr("seen")
    engine = create_engine(links.postgres_url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET amount = amount + 1 WHERE id = 2"))
    engine.dispose()


def attributes() -> dict[str, object]:
    """What can be called in the watched modules and in their classes, by its whole name."""
    modules = [one for name, one in list(sys.modules.items()) if name.split(".")[0] in WATCHED]
    return {name: value for module in modules for name, value in of_module(module)}


def of_module(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name, value in list(vars(module).items()):
        if callable(value):
            yield f"{module.__name__}.{name}", value
        if isinstance(value, type) and value.__module__ == module.__name__:
            for inner, attribute in list(vars(value).items()):
                if callable(attribute) or isinstance(attribute, property | classmethod):
                    yield f"{module.__name__}.{name}.{inner}", attribute


async def test_no_attribute_of_anybodys_module_is_another_while_workers_run(
    servers: Servers,
) -> None:
    during: list[dict[str, object]] = []

    async def looks(links: Links) -> None:
        await by_tasks(links)
        during.append(attributes())

    # Whatever is imported when it is first needed has been by then.
    found = await found_by(servers, add_one_locked, looks, by_threads)
    assert found.verdict.kind is VerdictKind.LEGAL, found
    during.clear()
    before = attributes()
    await found_by(servers, add_one_locked, looks, by_threads)
    assert during
    assert len(before) > 10_000
    for seen in (during[0], during[-1], attributes()):
        others = {name for name in before if before[name] is not seen.get(name)}
        assert others <= OF_SQLALCHEMY
