"""Advisory locks are told by their keys, for as long as they are held."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .footprint_lab import Lab, in_words, laboratory
from .wire_servers import PostgresServer

LOCK = "row 7 (key) of advisory locks"


@pytest_asyncio.fixture(loop_scope="session")
async def lab(postgres: PostgresServer) -> AsyncIterator[Lab]:
    async with laboratory(postgres) as lab:
        yield lab


async def test_a_transactions_lock_is_acquired_held_and_let_go_at_its_end(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SELECT pg_advisory_xact_lock($1)", 7)
    assert await lab.touched("one") == {f"acquire {LOCK}"}
    await one.execute("SELECT pg_advisory_xact_lock(7)")
    assert await lab.touched("one") == {f"held {LOCK}"}
    await one.execute("COMMIT")
    assert await lab.touched("one") == {f"release {LOCK}", "release commits"}


async def test_a_sessions_lock_outlives_its_transaction_until_it_is_unlocked(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SELECT pg_advisory_lock(7)")
    assert await lab.touched("one") == {f"acquire {LOCK}"}
    await one.execute("COMMIT")
    assert await lab.touched("one") == set()
    await one.execute("SELECT pg_advisory_lock(7)")
    assert await lab.touched("one") == {f"held {LOCK}"}
    for expected in ("held", "release", "write"):
        await one.execute("SELECT pg_advisory_unlock(7)")
        assert await lab.touched("one") == {f"{expected} {LOCK}"}


async def test_a_transactions_end_does_not_let_go_what_the_session_has_too(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("SELECT pg_advisory_lock(7)")
    await lab.touched("one")
    await one.execute("BEGIN")
    await one.execute("SELECT pg_advisory_xact_lock(7)")
    assert await lab.touched("one") == {f"held {LOCK}"}
    await one.execute("COMMIT")
    assert f"release {LOCK}" not in await lab.touched("one")


async def test_who_waits_for_a_lock_has_asked_for_it_and_has_it_afterwards(lab: Lab) -> None:
    one, two = await lab.connect("one"), await lab.connect("two")
    for client in (one, two):
        await client.execute("BEGIN")
    await one.execute("SELECT pg_advisory_xact_lock(7)")
    asking = asyncio.create_task(two.execute("SELECT pg_advisory_xact_lock($1::bigint)", 7))
    assert await lab.waiting("two") == {f"acquire {LOCK}"}
    await one.execute("COMMIT")
    await asking
    assert await lab.touched("two") == {f"held {LOCK}"}


async def test_a_connection_that_closes_lets_its_locks_go(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("SELECT pg_advisory_lock(7)")
    await lab.touched("one")
    await one.close()
    assert in_words(lab.reader.left_behind()) == {f"release {LOCK}"}


async def test_a_pool_that_takes_a_connection_back_lets_its_locks_go(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("SELECT pg_advisory_lock(7)")
    await lab.touched("one")
    await one.reset()
    assert await lab.touched("one") == {f"release {LOCK}"}
    await one.execute("UPDATE accounts SET amount = 1 WHERE id = 1")
    assert "acquire row 1 (accounts_pkey) of table accounts" in await lab.touched("one")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT pg_try_advisory_xact_lock(7)", {f"write {LOCK}"}),
        ("SELECT pg_advisory_xact_lock_shared(7)", {f"write {LOCK}"}),
        ("SELECT pg_advisory_xact_lock(3, 4)", {"acquire row 3, 4 (key) of advisory locks"}),
        ("SELECT pg_advisory_xact_lock(hashtext('x'))", {
            "acquire row 1074944137 (key) of advisory locks"
        }),
        ("SELECT pg_advisory_xact_lock(id) FROM accounts", {"unknown"}),
        ("SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock(2)", {"unknown"}),
    ],
)  # fmt: skip
async def test_what_is_not_one_lock_that_is_waited_for_is_not_acquired(
    lab: Lab, sql: str, expected: set[str]
) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute(sql)
    assert await lab.touched("one") == expected


async def test_a_lock_whose_key_is_computed_from_a_value_is_any_of_them(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("BEGIN")
    await one.execute("SELECT pg_advisory_xact_lock(hashtext($1))", "x")
    touched = await lab.told("one")
    assert not touched.is_known or in_words(touched) == {"write advisory locks"}


async def test_locks_taken_out_of_sight_make_the_end_of_the_session_unknown(lab: Lab) -> None:
    one = await lab.connect("one")
    await one.execute("SELECT pg_advisory_lock(id) FROM accounts")
    assert await lab.touched("one") == {"unknown"}
    await one.close()
    assert in_words(lab.reader.left_behind()) == {"unknown"}
