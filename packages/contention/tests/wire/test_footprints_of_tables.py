"""What is not about one row is told by tables; what nobody can see through is unknown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest
import pytest_asyncio

from contention.model.footprints import Footprint, Mode, Resource

from .footprint_lab import SCHEMA, Lab, in_words, laboratory, row
from .wire_servers import PostgresServer


@pytest_asyncio.fixture(loop_scope="session")
async def lab(postgres: PostgresServer) -> AsyncIterator[Lab]:
    async with laboratory(postgres) as lab:
        yield lab


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO notes VALUES ('a')", {"stage table notes"}),
        ("SELECT a.amount FROM accounts a JOIN notes n ON true", {
            "read table accounts", "read table notes"
        }),
        ("INSERT INTO orders (account_id) VALUES (1)", {
            "stage table orders", "stage table accounts", "write table orders_id_seq"
        }),
        ("UPDATE orders SET item = 'x' WHERE id = 1", {"read row 1 (orders_pkey) of table orders"}),
        ("DELETE FROM accounts WHERE id = 7", {"stage table accounts", "stage table orders"}),
        ("LOCK TABLE notes IN EXCLUSIVE MODE", {"stage table notes"}),
        ("LOCK TABLE notes", {"write table notes"}),
        ("TRUNCATE notes", {"stage table notes", "write table notes"}),
        ("SELECT now(), lower('A'), count(*) FROM notes", {"read table notes"}),
        ("SELECT last_value FROM orders_id_seq", {"read table orders_id_seq"}),
        ("INSERT INTO accounts VALUES (1) ON CONFLICT (id) DO UPDATE SET amount = 1", {
            "stage table accounts", "stage table orders"
        }),
        ("SELECT relname FROM pg_class WHERE relname = 'x'", {"read table pg_class"}),
        ("SELECT pg_sleep(0)", {"unknown"}),
        ("SELECT \"pg_notify\"('a', 'b')", {"unknown"}),
        ("SELECT * FROM pg_locks", {"unknown"}),
        ("SELECT * FROM pg_stat_activity", {"unknown"}),
        ("SELECT nextval('orders_id_seq')", {"unknown"}),
        ("NOTIFY something", {"unknown"}),
    ],
)  # fmt: skip
async def test_tables_are_told_as_the_server_locks_them(
    lab: Lab, sql: str, expected: set[str]
) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute(sql)
    assert await lab.touched("one") == expected


async def test_each_statement_tells_its_own_tables_and_the_commit_what_was_changed(
    lab: Lab,
) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("INSERT INTO notes VALUES ('a')")
    await lab.touched("one")
    await one.execute("SELECT * FROM pairs")
    assert await lab.touched("one") == {"read table pairs"}
    await one.execute("COMMIT")
    assert await lab.touched("one") == {"release table notes", "release commits"}


async def test_the_end_of_a_transaction_that_only_read_shows_nothing_but_itself(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SELECT * FROM notes")
    await lab.told("one")
    await one.execute("COMMIT")
    end = await lab.told("one")
    assert end == Footprint(((Resource("readers of table notes"), Mode.READ),))


async def test_who_wants_a_table_alone_conflicts_with_whoever_is_there(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    await two.execute("BEGIN")
    await two.execute("UPDATE accounts SET amount = 1 WHERE id = 7")
    missed = await lab.told("two")
    await two.execute("COMMIT")
    end = await lab.told("two")
    await one.execute("BEGIN")
    await one.execute("LOCK TABLE accounts IN EXCLUSIVE MODE NOWAIT")
    alone = await lab.told("one")
    assert alone.conflicts_with(missed)
    assert alone.conflicts_with(end)


async def test_a_rolled_back_transaction_adds_nothing_to_what_snapshots_see(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("INSERT INTO notes VALUES ('a')")
    await lab.touched("one")
    await one.execute("ROLLBACK")
    assert await lab.touched("one") == {"release table notes"}


async def test_a_refused_statement_lets_go_all_that_its_transaction_had(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    await lab.touched("one")
    with pytest.raises(asyncpg.UniqueViolationError):
        await one.execute("INSERT INTO pairs VALUES (1, 'x', 0)")
    assert await lab.touched("one") == {f"release {row('1')}", "stage table pairs"}
    await one.execute("ROLLBACK")
    assert await lab.touched("one") == set()


async def test_a_deadlock_is_nothing_that_anybody_can_see_through(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    update = "UPDATE accounts SET amount = 1 WHERE id = $1"
    for client, number in ((one, 1), (two, 2)):
        await client.execute("BEGIN")
        await client.execute(update, number)
    for name in ("one", "two"):
        await lab.touched(name)
    waiting = [asyncio.create_task(one.execute(update, 2))]
    await lab.waiting("one")
    waiting.append(asyncio.create_task(two.execute(update, 1)))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    victim = next(n for n, r in zip(("one", "two"), results, strict=True) if not isinstance(r, str))
    assert await lab.touched(victim) == {"unknown"}


async def test_a_connection_that_closes_lets_go_what_it_had(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    await lab.touched("one")
    await one.close()
    assert in_words(lab.reader.left_behind()) == {f"release {row('1')}"}
    assert in_words(lab.reader.left_behind()) == set()


async def test_a_refused_preparation_ends_the_transaction_as_well(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    await lab.touched("one")
    with suppress(asyncpg.UndefinedTableError):
        await one.prepare("SELECT * FROM nowhere")
    assert in_words(lab.reader.left_behind()) == {f"release {row('1')}"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT amount FROM accounts WHERE id = 1", {f"read {row('1')}"}),
        ("SELECT count(*) FROM notes", {"read table notes"}),
        ("UPDATE accounts SET amount = 1 WHERE id = 1", {
            f"acquire {row('1')}", f"release {row('1')}", "release commits"
        }),
        ("UPDATE accounts SET amount = 1 WHERE id = 7", {f"read {row('7')}"}),
        ("INSERT INTO notes VALUES ('a')", {
            "stage table notes", "release table notes", "release commits"
        }),
        ("DO $$ BEGIN END $$", {"unknown"}),
    ],
)  # fmt: skip
async def test_a_statement_alone_is_told_by_its_plan(
    lab: Lab, sql: str, expected: set[str]
) -> None:
    one = await lab.connect("one")
    await one.execute(sql)
    assert await lab.touched("one") == expected


async def test_several_statements_at_once_are_told_by_the_locks_of_their_transaction(
    lab: Lab,
) -> None:
    one = await lab.connect("one")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1; SELECT 1")
    assert await lab.touched("one") == {"unknown"}
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1; SELECT * FROM notes")
    assert await lab.touched("one") == {"stage table accounts", "read table notes"}


async def test_after_a_change_of_definitions_nothing_is_known_any_more(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    await one.execute("CREATE TABLE more (id int)")
    assert await lab.touched("one") == {"unknown"}
    await two.execute("SELECT count(*) FROM notes")
    assert await lab.touched("two") == {"unknown"}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (
            """CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO notes VALUES (NEW.value); RETURN NEW; END $$""",
            {"stage table pairs", "stage table notes"},
        ),
        (
            """CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_notify('a', 'b'); RETURN NEW; END $$""",
            {"unknown"},
        ),
        (
            """CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN EXECUTE 'SELECT pg_advisory_xact_lock(1)'; RETURN NEW; END $$""",
            {"unknown"},
        ),
        (
            """CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO notes VALUES ('x'); RETURN NEW;
                EXCEPTION WHEN others THEN RETURN NEW;
                END $$""",
            {"unknown"},
        ),
    ],
)
async def test_a_trigger_is_told_by_its_locks_where_those_show_all_it_does(
    postgres: PostgresServer, definition: str, expected: set[str]
) -> None:
    trigger = "CREATE TRIGGER log BEFORE UPDATE ON pairs FOR EACH ROW EXECUTE FUNCTION log()"
    async with laboratory(postgres, f"{SCHEMA}; {definition}; {trigger}") as lab:
        one = await lab.connect("one")
        await one.execute("BEGIN")
        await one.execute("UPDATE pairs SET value = 1 WHERE a = 1 AND b = 'x'")
        assert await lab.touched("one") == expected
        await one.execute("SELECT count(*) FROM accounts")
        assert await lab.touched("one") == {"read table accounts"}


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE RULE r AS ON INSERT TO notes DO ALSO INSERT INTO pairs VALUES (9, 'z', 0)",
        "CREATE POLICY p ON notes",
        "CREATE TABLE late (id int UNIQUE DEFERRABLE)",
        "CREATE VIEW v AS SELECT pg_try_advisory_lock(1)",
        "CREATE TABLE odd (id int DEFAULT pg_backend_pid())",
    ],
)
async def test_a_database_with_code_behind_every_statement_is_unknown(
    postgres: PostgresServer, definition: str
) -> None:
    async with laboratory(postgres, f"{SCHEMA}; {definition}") as lab:
        one = await lab.connect("one")
        await one.execute("BEGIN")
        await one.execute("SELECT count(*) FROM accounts")
        assert await lab.touched("one") == {"unknown"}


async def test_a_row_lock_taken_inside_a_function_is_told_by_its_table(
    postgres: PostgresServer,
) -> None:
    function = """CREATE FUNCTION lock_account(wanted int) RETURNS int LANGUAGE sql AS $$
        SELECT amount FROM accounts WHERE id = wanted FOR UPDATE $$"""
    async with laboratory(postgres, f"{SCHEMA}; {function}") as lab:
        one = await lab.connect("one")
        await one.execute("BEGIN")
        await one.execute("SELECT lock_account(1)")
        assert await lab.touched("one") == {"stage table accounts"}


async def test_a_row_that_is_changed_again_has_its_references_checked_again(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("INSERT INTO orders VALUES (1, 1, 'tea')")
    await one.execute("BEGIN")
    update = "UPDATE orders SET item = 'milk' WHERE id = 1"
    await one.execute(update)
    named = row("1", "orders_pkey", "orders")
    assert await lab.touched("one") == {f"acquire {named}"}
    await one.execute(update)
    assert await lab.touched("one") == {f"held {named}", "stage table accounts"}


async def test_checks_and_defaults_that_look_at_nothing_hide_nothing(
    postgres: PostgresServer,
) -> None:
    table = """CREATE TABLE policies (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        cover numeric(12, 2) CHECK (cover BETWEEN 0 AND 100),
        state varchar(10) DEFAULT 'new' CHECK (state IN ('new', 'paid')),
        made_at timestamp DEFAULT timezone('utc', now()))"""
    async with laboratory(postgres, f"{table}; INSERT INTO policies (cover) VALUES (1)") as lab:
        one = await lab.connect("one")
        await one.execute("UPDATE policies SET cover = 2 WHERE id = 1")
        assert f"acquire {row('1', 'policies_pkey', 'policies')}" in await lab.touched("one")


async def test_rows_of_a_divided_table_are_not_named(postgres: PostgresServer) -> None:
    divided = """CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts VALUES (1, 1)"""
    async with laboratory(postgres, divided) as lab:
        one = await lab.connect("one")
        await one.execute("BEGIN")
        await one.execute("UPDATE parts SET n = 1 WHERE id = 1")
        assert await lab.touched("one") == {
            "read table parts", "stage table parts", "stage table part"
        }  # fmt: skip
