"""An invariant sees what a new connection would see, whoever served it before."""

import asyncpg
import psycopg

from contention.explore import explore
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.wire.servers import Links, Servers

from .programs import database


async def a_flag(links: Links) -> None:
    async with database(links) as connection:
        await connection.execute("CREATE TABLE flags (name text)")


async def raise_the_flag(links: Links) -> None:
    async with database(links) as connection:
        await connection.execute("INSERT INTO flags VALUES ('up')")


async def change_what_sessions_begin_with(links: Links) -> None:
    """If the flag is up: in some orders only."""
    async with database(links) as connection:
        if await connection.fetchval("SELECT count(*) FROM flags"):
            name = await connection.fetchval("SELECT current_database()")
            await connection.execute(f"ALTER DATABASE {name} SET work_mem = '77kB'")
            await connection.execute("INSERT INTO flags VALUES ('changed')")


async def test_an_invariant_begins_as_the_run_has_left_it(servers: Servers) -> None:
    seen = set()

    async def agrees(links: Links) -> bool:
        async with database(links) as connection:
            is_changed = bool(
                await connection.fetchval("SELECT count(*) FROM flags WHERE name = 'changed'")
            )
            seen.add(is_changed)
            return is_changed is bool(await connection.fetchval("SHOW work_mem") == "77kB")

    await explore(
        change_what_sessions_begin_with,
        raise_the_flag,
        setup=a_flag,
        invariant=agrees,
        servers=servers,
        scheduler=ExhaustiveScheduler(is_reduced=False),
    )
    assert seen == {False, True}


async def test_an_invariant_may_block_its_thread_and_leave_its_transaction_open(
    servers: Servers,
) -> None:
    left: list[psycopg.Connection] = []

    async def one_flag(links: Links) -> bool:
        connection = psycopg.connect(links.postgres_url, connect_timeout=20)
        left.append(connection)
        connection.execute("LOCK TABLE flags")
        row = connection.execute("SELECT count(*) FROM flags").fetchone()
        return row == (2,)

    exploration = await explore(
        raise_the_flag,
        raise_the_flag,
        setup=a_flag,
        invariant=one_flag,
        servers=servers,
        scheduler=ExhaustiveScheduler(is_reduced=False),
    )
    for connection in left:
        connection.close()
    assert len(left) == exploration.schedules > 1


async def test_every_run_has_a_look_by_the_same_backend(servers: Servers) -> None:
    process_ids = set()

    async def look(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        process_ids.add(connection.get_server_pid())
        await connection.close()

    await explore(
        raise_the_flag,
        raise_the_flag,
        setup=a_flag,
        invariant=look,
        servers=servers,
        scheduler=ExhaustiveScheduler(is_reduced=False),
    )
    assert len(process_ids) == 1
