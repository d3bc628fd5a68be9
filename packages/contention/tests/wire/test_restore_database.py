"""Whatever a worker does to a database, it is as it was at the start."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import pytest

from contention.wire.own_connections import NAME, connect_postgres
from contention.wire.restore_database import DatabaseStart, RestoreError
from contention.wire.servers import PostgresServer, Servers

from .database_contents import SOMETHING_OF_EVERYTHING, contents, differences

RUN, TEMPLATE = "restored_run", "restored_template"

IN_PLACE = {
    "nothing": "SELECT 1",
    "an update": "UPDATE customers SET name = name || '!'",
    "an insert with an identity": "INSERT INTO customers (name) VALUES ('cid')",
    "a delete": "DELETE FROM orders WHERE id = 3",
    "a delete of what others refer to": "DELETE FROM orders; DELETE FROM customers",
    "an insert that fires a trigger": "INSERT INTO orders (customer) VALUES (1)",
    "a rolled back insert": "BEGIN; INSERT INTO customers (name) VALUES ('cid'); ROLLBACK",
    "an insert that was deleted again": "INSERT INTO cats VALUES ('a'); DELETE FROM cats",
    "odd names": """UPDATE "odd Names" SET "A column" = 'b'""",
    "every kind of value": "UPDATE other.kinds SET h = 'z'",
    "rows without columns": "DELETE FROM no_columns",
    "an unlogged table": "INSERT INTO unlogged VALUES (2)",
    "a table with a dropped column": "UPDATE dropped SET b = 0",
    "a partition": "INSERT INTO parts VALUES (2, '2022-01-01')",
    "a row that moves to another partition": """
        DELETE FROM of_parts; UPDATE parts SET day = '2022-01-01' WHERE day < '2020-01-01'""",
    "inheritance": "UPDATE animals SET name = 'other'",
    "many rows": "DELETE FROM many WHERE id % 3 = 0; UPDATE many SET t = 'y' WHERE id = 1",
    "an exclusion constraint": "UPDATE rooms SET during = '[10,20)' WHERE lower(during) = 1",
    "a sequence": "SELECT nextval('untouched'), nextval('other.used'), nextval('cached')",
    "a sequence set": "SELECT setval('other.used', 100, false)",
    "an empty table": "TRUNCATE many",
    "a table emptied and filled": "TRUNCATE cats; INSERT INTO cats VALUES ('new', 1)",
    "TRUNCATE CASCADE": "TRUNCATE customers RESTART IDENTITY CASCADE",
    "a temporary table": "CREATE TEMP TABLE mine (a serial, b text); INSERT INTO mine VALUES (1)",
    "a table made and dropped": "CREATE TABLE brief (a int PRIMARY KEY); DROP TABLE brief",
    "locks": "SELECT pg_advisory_lock(1); LISTEN news; BEGIN; LOCK TABLE customers",
    "a prepared transaction": """
        BEGIN; UPDATE customers SET share = 99; PREPARE TRANSACTION 'left behind'""",
    "a setting of the session": "SET work_mem = '77kB'; SET search_path = other",
    "VACUUM": "VACUUM FULL many",
}
BY_CLONING = {
    "a new table": "CREATE TABLE more (a int)",
    "a new column": "ALTER TABLE customers ADD COLUMN more int",
    "a dropped table": "DROP TABLE customers CASCADE",
    "a dropped sequence": "DROP SEQUENCE untouched",
    "a dropped schema": "DROP SCHEMA public CASCADE",
    "an index": "CREATE INDEX ON many (t)",
    "a constraint": "ALTER TABLE many ADD CHECK (id > 0)",
    "a default": "ALTER TABLE dropped ALTER b SET DEFAULT 6",
    "a trigger": "DROP TRIGGER noting ON orders",
    "a disabled trigger": "ALTER TABLE orders DISABLE TRIGGER noting",
    "a function": "ALTER FUNCTION note() SECURITY DEFINER",
    "a type": "ALTER TYPE colour ADD VALUE 'blue'",
    "a view": "CREATE OR REPLACE VIEW names AS SELECT name FROM animals",
    "a rule": "DROP RULE shout ON unlogged",
    "a policy": "DROP POLICY nobody ON animals",
    "a sequence's definition": "ALTER SEQUENCE untouched INCREMENT 2",
    "a sequence's owner": "ALTER SEQUENCE untouched OWNED BY many.id",
    "a right": "GRANT UPDATE ON customers TO PUBLIC",
    "a comment": "COMMENT ON TABLE many IS 'many'",
    "a schema": "CREATE SCHEMA third",
    "an extension": "CREATE EXTENSION btree_gist",
    "a large object": "SELECT lowrite(lo_open(4711, 131072), 'other')",
    "a materialised view": "INSERT INTO cats VALUES ('x', 1); REFRESH MATERIALIZED VIEW totals",
    "a refreshed view of other rows": "DELETE FROM orders; REFRESH MATERIALIZED VIEW totals",
    "a partition taken away": "DROP TABLE of_parts; ALTER TABLE parts DETACH PARTITION parts_old",
    "a setting of the database": f"ALTER DATABASE {RUN} SET work_mem = '77kB'",
    "a built-in's right": "REVOKE EXECUTE ON FUNCTION pg_catalog.lower(text) FROM PUBLIC",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """A database with its start; `was` is what it held then."""

    server: PostgresServer
    start: DatabaseStart
    was: dict[str, list[str]]

    async def work(self, sql: str) -> None:
        """What a worker does before it leaves without a word."""
        connection = await connect_postgres(self.server)
        try:
            for statement in sql.split("; "):
                await connection.execute(statement)
        finally:
            connection.terminate()

    async def changes(self) -> dict[str, object]:
        connection = await connect_postgres(self.server)
        try:
            return differences(self.was, await contents(connection))
        finally:
            await connection.close()


@pytest.fixture(scope="module")
async def ground(servers: Servers) -> AsyncIterator[Ground]:
    admin = await connect_postgres(servers.postgres)
    await admin.execute(f"CREATE DATABASE {RUN}")
    await admin.execute(f"ALTER DATABASE {RUN} SET lock_timeout = '9s'")
    await admin.execute(f"GRANT CONNECT ON DATABASE {RUN} TO pg_monitor")
    server = servers.postgres.using(RUN)
    setup = await connect_postgres(server)
    await setup.execute(SOMETHING_OF_EVERYTHING)
    before = await contents(setup)
    await setup.close()
    start = await DatabaseStart.of(server, TEMPLATE, admin)
    await start.restore()
    connection = await connect_postgres(server)
    was = await contents(connection)
    await connection.close()
    assert not {
        name: lines
        for name, lines in differences(before, was).items()
        if name not in {"public.dropped", "pg_attribute"}
    }
    yield Ground(server, start, was)
    await start.close()
    await admin.execute(f"DROP DATABASE {RUN}")
    await admin.close()


@pytest.mark.parametrize("what", IN_PLACE)
async def test_it_is_put_back_in_place(ground: Ground, what: str) -> None:
    clones = ground.start.clones
    await ground.work(IN_PLACE[what])
    await ground.start.restore()
    assert not await ground.changes()
    assert ground.start.clones == clones


@pytest.mark.parametrize("what", BY_CLONING)
async def test_it_is_put_back_by_cloning(ground: Ground, what: str) -> None:
    clones = ground.start.clones
    await ground.work(BY_CLONING[what])
    await ground.start.restore()
    assert not await ground.changes()
    assert ground.start.clones == clones + 1


NAMED_BY_THE_SEARCH_PATH = f"""
    CREATE SCHEMA other;
    CREATE FUNCTION other.add(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2';
    CREATE AGGREGATE other.added(int) (SFUNC = other.add, STYPE = int);
    ALTER DATABASE {RUN}_named SET search_path = '$user', other, public
    """


async def test_a_system_table_that_tells_names_as_the_search_path_says_is_not_taken_for_changed(
    servers: Servers,
) -> None:
    admin = await connect_postgres(servers.postgres)
    await admin.execute(f"CREATE DATABASE {RUN}_named")
    server = servers.postgres.using(f"{RUN}_named")
    setup = await connect_postgres(server)
    await setup.execute(NAMED_BY_THE_SEARCH_PATH)
    await setup.close()
    start = await DatabaseStart.of(server, f"{TEMPLATE}_named", admin)
    worker = await connect_postgres(server)
    for _ in range(2):
        await worker.execute("CREATE AGGREGATE brief(int) (SFUNC = add, STYPE = int)")
        await worker.execute("DROP AGGREGATE brief(int)")
    await worker.close()
    await start.restore()
    await start.close()
    await admin.execute(f"DROP DATABASE {RUN}_named")
    await admin.close()
    assert start.clones == 0


async def test_roles_of_the_whole_server_are_an_error(ground: Ground) -> None:
    await ground.work("CREATE ROLE left_behind")
    with pytest.raises(RestoreError, match="pg_authid, which belongs to the whole server"):
        await ground.start.restore()
    await ground.work("DROP ROLE left_behind")
    await ground.start.restore()
    assert not await ground.changes()


async def test_a_worker_that_still_writes_is_ended_first(ground: Ground) -> None:
    worker = await connect_postgres(ground.server)
    await worker.execute("BEGIN; UPDATE customers SET name = name || '?'")
    await ground.start.restore()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await worker.execute("COMMIT")
    assert not await ground.changes()


async def test_a_prepared_transaction_is_rolled_back_though_nobody_is_connected(
    ground: Ground,
) -> None:
    await ground.work(IN_PLACE["a prepared transaction"])
    idle = await connect_postgres(ground.server)
    others = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = $1
        AND query LIKE '%PREPARE TRANSACTION%'
    """
    async with asyncio.timeout(30):
        while await idle.fetchval(others, NAME):
            pass
    await ground.start.restore([idle.get_server_pid()])
    await idle.close()
    assert not await ground.changes()


async def test_an_idle_backend_of_the_kit_stays(ground: Ground) -> None:
    idle = await connect_postgres(ground.server)
    await ground.start.restore([idle.get_server_pid()])
    assert await idle.fetchval("SELECT count(*) FROM many") == 1000
    await idle.close()


async def test_the_kit_survives_a_worker_that_ends_its_connection(ground: Ground) -> None:
    await ground.work(
        "UPDATE many SET t = ''; SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await ground.start.restore()
    assert not await ground.changes()


RANDOM_STATEMENTS = (
    "INSERT INTO customers (name) VALUES (md5(random()::text))",
    "UPDATE customers SET share = random() * 100 WHERE id % 2 = {digit} % 2",
    "DELETE FROM orders WHERE id % 3 = {digit} % 3",
    "INSERT INTO orders (customer, parent) SELECT min(id), NULL FROM customers",
    "UPDATE orders SET parent = NULL WHERE id > {digit}",
    "DELETE FROM many WHERE id % 10 = {digit}",
    "UPDATE many SET t = t || '{digit}' WHERE id % 7 = {digit}",
    "INSERT INTO many SELECT 2000 + {digit}, 'x' ON CONFLICT (id) DO UPDATE SET t = 'again'",
    "INSERT INTO parts VALUES (10 + {digit}, '2022-01-01') ON CONFLICT DO NOTHING",
    "UPDATE parts SET day = '2018-01-01' WHERE id > {digit}",
    "INSERT INTO cats VALUES ('cat', {digit})",
    "UPDATE animals SET name = 'animal {digit}'",
    "MERGE INTO unlogged u USING many m ON u.a = m.id WHEN MATCHED THEN DELETE",
    "SELECT nextval('cached'), nextval('other.used')",
    "SELECT setval('untouched', 1 + {digit}, false)",
    "TRUNCATE of_parts, cats",
    "SAVEPOINT here",
    "ROLLBACK TO SAVEPOINT here",
    "COMMIT",
    "ROLLBACK",
)


@pytest.mark.parametrize("seed", range(8))
async def test_random_work_is_put_back_in_place(ground: Ground, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's own choices
    clones = ground.start.clones
    worker = await connect_postgres(ground.server)
    for _ in range(25):
        statement = chance.choice(RANDOM_STATEMENTS).format(digit=chance.randrange(10))
        with suppress(asyncpg.PostgresError):
            if not worker.is_in_transaction():
                await worker.execute("BEGIN")
            await worker.execute(statement)
    worker.terminate()
    await ground.start.restore()
    assert not await ground.changes()
    assert ground.start.clones == clones
