"""What a test gives beside workers and servers, and what is told when one of them is wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from contention.explore import explore
from contention.model.verdicts import VerdictKind
from contention.search.complaints import complaint
from contention.wire.servers import Links, RedisServer, Servers, UnusableServerError

from .programs import Program, accounts_hold, add_one, add_to_both, database, found_by, two_accounts

HERE = "test_given_functions.py"


def two_accounts_at_once(links: Links) -> None:
    asyncio.run(two_accounts(links))  # refused in a thread in which a loop runs


def holds(total: int, links: Links) -> bool:
    with psycopg.connect(links.postgres_url) as connection:
        return connection.execute("SELECT sum(amount) FROM accounts").fetchall() == [(total,)]


async def test_a_setup_and_an_invariant_may_be_ordinary_functions(servers: Servers) -> None:
    for workers, kind in (([add_one], VerdictKind.LEGAL), ([add_one] * 2, VerdictKind.ILLEGAL)):
        check = partial(holds, len(workers))
        found = await found_by(servers, *workers, setup=two_accounts_at_once, invariant=check)
        assert found.verdict.kind is kind


async def test_they_may_return_something_to_await(servers: Servers) -> None:
    def later(wanted: Program) -> Callable[[Links], object]:
        return lambda links: wanted(links)  # noqa: PLW0108 - it is no async function itself

    setup, check = later(two_accounts), later(accounts_hold(1))
    found = await found_by(servers, add_one, setup=setup, invariant=check)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_an_invariant_that_raises_anything_does_not_hold(servers: Servers) -> None:
    async def first_order_is_tea(links: Links) -> bool:
        async with database(links) as connection:
            row = await connection.fetchrow("SELECT item FROM orders")
        return bool(row["item"] == "tea")

    found = await found_by(servers, add_one, invariant=first_order_is_tea)
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert found.verdict.reason.startswith(
        "the invariant raised TypeError: 'NoneType' object is not subscriptable ["
    )
    assert HERE in found.verdict.reason
    assert found.counterexample is not None


async def test_a_redis_that_does_not_answer_is_told_with_what_to_do(servers: Servers) -> None:
    nobody = replace(servers, redis=RedisServer(host="127.0.0.1", port=1))
    with pytest.raises(UnusableServerError, match=r"no usable Redis at 127\.0\.0\.1:1 .*start it"):
        await explore(add_one, setup=two_accounts, servers=nobody)


async def test_a_worker_that_raises_is_told_with_its_line(servers: Servers) -> None:
    async def slips(_links: Links) -> None:
        raise LookupError("no tea\nand no coffee")

    found = await found_by(servers, slips)
    first, second = found.verdict.reason.splitlines()
    assert first.startswith("w1 raised LookupError: no tea [")
    assert HERE in first
    assert second == "and no coffee"


async def test_a_deadlock_is_told_without_the_numbers_of_processes(servers: Servers) -> None:
    found = await found_by(servers, add_to_both(1, 2), add_to_both(2, 1))
    assert "raised DeadlockDetectedError: deadlock detected [" in found.verdict.reason
    assert "programs.py" in found.verdict.reason
    assert "; deadlock: w" in found.verdict.reason
    assert "Process" not in found.verdict.reason
    assert "HINT" not in found.verdict.reason


def test_every_other_detail_of_an_error_stays() -> None:
    text = (
        "deadlock detected\nDETAIL:  Process 12 waits for ShareLock on transaction 7; blocked by "
        "process 13.\nProcess 13 waits for ShareLock on transaction 8; blocked by process 12.\n"
        "HINT:  See server log for query details.\nCONTEXT:  while updating a row"
    )
    assert complaint("w1", LookupError(text), ("deadlock: w1 waits for w2",)) == (
        "w1 raised LookupError: deadlock detected\nCONTEXT:  while updating a row; "
        "deadlock: w1 waits for w2"
    )
    assert complaint("w1", LookupError(text)) == f"w1 raised LookupError: {text}"
