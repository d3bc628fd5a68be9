"""Statements about the one row that a unique key names touch that row, and no more is claimed."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from .footprint_lab import Lab, laboratory, row
from .wire_servers import PostgresServer


@pytest_asyncio.fixture(loop_scope="session")
async def lab(postgres: PostgresServer) -> AsyncIterator[Lab]:
    async with laboratory(postgres) as lab:
        yield lab


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM accounts WHERE id = 1 FOR UPDATE", {f"acquire {row('1')}"}),
        ("SELECT * FROM accounts WHERE id = 1 FOR NO KEY UPDATE", {f"acquire {row('1')}"}),
        ("UPDATE accounts SET amount = amount + 1 WHERE id = 1", {f"acquire {row('1')}"}),
        ("UPDATE pairs SET value = 1 WHERE a = 1 AND b = 'x'", {
            f"acquire {row(chr(49) + ', ' + repr('x'), 'pairs_pkey', 'pairs')}"
        }),
        ("DELETE FROM pairs WHERE b = 'x' AND a = 1", {
            f"acquire {row(chr(49) + ', ' + repr('x'), 'pairs_pkey', 'pairs')}"
        }),
        ("SELECT * FROM accounts WHERE name = 'one' FOR UPDATE", {
            f"acquire {row(repr('one'), 'accounts_name_key')}"
        }),
        ("SELECT amount FROM accounts WHERE id = 1", {f"read {row('1')}"}),
        ("SELECT sum(amount) FROM accounts WHERE id = 1", {f"read {row('1')}"}),
        ("SELECT count(*) FROM accounts", {"read table accounts"}),
        ("UPDATE accounts SET amount = 1 WHERE id = 7", {f"read {row('7')}"}),
        ("SELECT 1 FROM accounts WHERE id = 7 FOR UPDATE", {f"read {row('7')}"}),
    ],
)  # fmt: skip
async def test_a_row_under_a_unique_key_is_told_by_its_name(
    lab: Lab, sql: str, expected: set[str]
) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute(sql)
    assert await lab.touched("one") == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM accounts WHERE id = 1 FOR SHARE",
        "SELECT * FROM accounts WHERE id = 1 FOR UPDATE NOWAIT",
        "SELECT * FROM accounts WHERE id = 1 FOR UPDATE SKIP LOCKED",
        "SELECT * FROM accounts WHERE id >= 1 FOR UPDATE",
        "SELECT * FROM accounts WHERE id IN (1, 2) FOR UPDATE",
        "UPDATE accounts SET id = 3 WHERE id = 1",
        "UPDATE accounts SET name = 'three' WHERE id = 1",
        "UPDATE accounts SET amount = 3 WHERE amount = 10",
        "UPDATE accounts SET amount = (SELECT max(amount) FROM accounts) WHERE id = 1",
        "UPDATE accounts SET amount = 1 FROM pairs WHERE id = 1",
        "DELETE FROM accounts WHERE id = 3",
    ],
)
async def test_what_promises_less_is_told_by_its_table(lab: Lab, sql: str) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute(sql)
    assert "stage table accounts" in await lab.touched("one")


async def test_what_a_transaction_holds_it_does_not_acquire_again(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.fetch("SELECT * FROM accounts WHERE id = $1 FOR UPDATE", 1)
    assert await lab.touched("one") == {f"acquire {row('1')}"}
    await one.execute("UPDATE accounts SET amount = $1 WHERE id = $2", 5, 1)
    assert await lab.touched("one") == {f"held {row('1')}"}
    await one.execute("COMMIT")
    assert await lab.touched("one") == {f"release {row('1')}", "release commits"}


async def test_a_part_of_a_key_names_no_row(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SELECT * FROM pairs WHERE a = 1 FOR UPDATE")
    assert await lab.touched("one") == {"stage table pairs"}
    await one.execute("SELECT * FROM pairs WHERE a = 1")
    assert await lab.touched("one") == {"read table pairs"}


async def test_a_driver_that_asks_for_one_row_alone_acquires_it_as_well(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.fetchval("SELECT amount FROM accounts WHERE id = 1 FOR UPDATE")
    assert await lab.touched("one") == {f"acquire {row('1')}"}
    sql = "UPDATE accounts SET amount = 1 WHERE id = 2 RETURNING amount"
    assert await one.fetchrow(sql) is not None
    assert await lab.touched("one") == {f"acquire {row('2')}"}


async def test_a_condition_beside_the_key_is_looked_at(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1 AND amount > 3")
    assert await lab.touched("one") == {f"acquire {row('1')}", f"read {row('1')}"}
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 2 AND amount > 99")
    assert await lab.touched("one") == {f"read {row('2')}"}


async def test_who_waits_for_a_row_has_asked_for_it_and_has_it_afterwards(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    for client in (one, two):
        await client.execute("BEGIN")
    update = "UPDATE accounts SET amount = amount + 1 WHERE id = $1"
    await one.execute(update, 1)
    asking = asyncio.create_task(two.execute(update, 1))
    assert await lab.waiting("two") == {f"acquire {row('1')}"}
    await one.execute("COMMIT")
    await asking
    assert await lab.touched("two") == {f"held {row('1')}"}


async def test_who_waited_for_a_row_that_is_gone_may_have_locked_another(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    for client in (one, two):
        await client.execute("BEGIN")
    await one.execute("UPDATE accounts SET id = 3 WHERE id = 1")
    asking = asyncio.create_task(two.fetch("SELECT * FROM accounts WHERE id = 1 FOR UPDATE"))
    assert await lab.waiting("two") == {f"acquire {row('1')}"}
    await one.execute("COMMIT")
    assert await asking == []
    assert await lab.touched("two") == {"stage table accounts"}


async def test_after_changing_a_table_as_a_whole_a_transaction_names_no_rows(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("INSERT INTO pairs VALUES (3, 'z', 0)")
    assert await lab.touched("one") == {"stage table pairs"}
    await one.execute("UPDATE pairs SET value = 1 WHERE a = 1 AND b = 'x'")
    assert await lab.touched("one") == {"stage table pairs"}


async def test_after_a_return_to_a_savepoint_nothing_is_held_for_certain(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SAVEPOINT before")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    await lab.touched("one")
    await one.execute("ROLLBACK TO before")
    assert await lab.touched("one") == {f"write {row('1')}"}
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    assert f"acquire {row('1')}" in await lab.touched("one")
    await one.execute("COMMIT")
    assert f"write {row('1')}" in await lab.touched("one")


async def test_who_reads_names_otherwise_acquires_nothing(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SET LOCAL search_path = public, pg_catalog")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    assert await lab.touched("one") == {"stage table accounts"}


@pytest.mark.parametrize("setting", ["lock_timeout = '5s'", "statement_timeout = '5s'"])
async def test_who_does_not_wait_for_ever_asks_for_the_row(lab: Lab, setting: str) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute(f"SET LOCAL {setting}")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    touched = await lab.touched("one")
    assert f"ask {row('1')}" in touched
    assert f"acquire {row('1')}" not in touched


async def test_a_limit_asked_for_at_the_log_in_counts_as_well(lab: Lab) -> None:
    settings = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "15s"}
    one = await lab.connect("one", **settings)
    await one.execute("BEGIN")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    assert f"ask {row('1')}" in await lab.touched("one")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
async def test_a_lasting_snapshot_names_no_rows_and_looks_at_the_commits(
    lab: Lab, level: str
) -> None:
    one = await lab.connect("one")
    await one.execute(f"BEGIN ISOLATION LEVEL {level}")
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    touched = await lab.touched("one")
    assert {"stage table accounts", "read commits"} <= touched
    assert ("write serializable transactions" in touched) == (level == "SERIALIZABLE")
    await one.execute("UPDATE accounts SET amount = 2 WHERE id = 1")
    assert "read commits" not in await lab.touched("one")


async def test_preparing_in_a_transaction_with_a_lasting_snapshot_takes_it(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await one.prepare("SELECT amount FROM accounts")
    assert "read commits" in await lab.touched("one")


async def test_values_name_the_same_row_in_every_form(lab: Lab) -> None:
    async with await psycopg.AsyncConnection.connect(await lab.url("one")) as one:
        for sql, values in (
            ("SELECT * FROM accounts WHERE id = %s FOR UPDATE", (1,)),
            ("SELECT * FROM accounts WHERE id = %b FOR UPDATE", (1,)),
            ("SELECT * FROM accounts WHERE id = %s::bigint FOR UPDATE", (1,)),
            ("SELECT * FROM accounts WHERE id = %s FOR UPDATE", ("1",)),
            ("SELECT * FROM accounts WHERE id = 0 + 1 FOR UPDATE", None),
        ):
            await one.execute(sql, values)
            assert (sql, values, await lab.touched("one")) == (sql, values, {f"acquire {row('1')}"})
            await one.rollback()
        await one.execute("SELECT * FROM accounts WHERE name = %s FOR UPDATE", ("one",))
        assert await lab.touched("one") == {f"acquire {row(repr('one'), 'accounts_name_key')}"}


async def test_a_value_too_long_to_be_told_apart_names_no_row(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.fetch("SELECT * FROM accounts WHERE name = $1 FOR UPDATE", "x" * 200)
    assert await lab.touched("one") == {"stage table accounts"}
    await one.fetch("SELECT * FROM accounts WHERE name = $1", "x" * 200)
    assert await lab.touched("one") == {"read table accounts"}
