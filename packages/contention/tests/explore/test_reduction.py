"""The reduced search finds every end that the unreduced one finds, on real servers."""

from dataclasses import replace
from random import Random

import pytest

from contention.wire.servers import Servers

from .random_programs import Script, ends_of, random_script

UPDATE = "UPDATE accounts SET amount = amount * 2 + 1 WHERE id = 1"
TAKE = "UPDATE accounts SET amount = amount - 10 WHERE id = 1 AND amount > 10"
LOCK = "SELECT amount FROM accounts WHERE id = 1 FOR UPDATE"

CHOSEN = {
    "a row that comes to satisfy a condition": (
        Script((UPDATE,), is_transaction=True),
        Script((TAKE,), is_transaction=True),
    ),
    "a row that is deleted and made again": (
        Script(
            ("DELETE FROM accounts WHERE id = 1", "INSERT INTO accounts VALUES (1, 99)"),
            is_transaction=True,
        ),
        Script((LOCK,), is_transaction=True),
    ),
    "a row that gets its key from another": (
        Script(("UPDATE accounts SET id = 3 WHERE id = 1",), is_transaction=True),
        Script(("SELECT amount FROM accounts WHERE id = 3 FOR UPDATE",), is_transaction=True),
    ),
    "a lock that is not waited for": (
        Script((LOCK,), is_transaction=True, ends_with="ROLLBACK"),
        Script((LOCK + " NOWAIT",), is_transaction=True),
    ),
    "waits that may end by a limit": (
        Script((LOCK, UPDATE), is_transaction=True, limit="lock_timeout = '9s'"),
        Script((LOCK, UPDATE), is_transaction=True, limit="lock_timeout = '9s'"),
    ),
    "a table locked alone against an update that finds nothing": (
        Script(("LOCK TABLE accounts IN EXCLUSIVE MODE", "INSERT INTO accounts VALUES (7, 1)"),
               is_transaction=True),
        Script(("UPDATE accounts SET amount = 5 WHERE id = 7",), is_transaction=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
async def test_no_end_is_lost_where_it_would_be_easy(servers: Servers, name: str) -> None:
    everything = await ends_of(servers, CHOSEN[name], is_reduced=False)
    reduced = await ends_of(servers, CHOSEN[name], is_reduced=True)
    assert reduced.found == everything.found
    assert reduced.schedules <= everything.schedules


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(40))
async def test_no_end_of_a_random_program_is_lost(servers: Servers, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    scripts = [random_script(random, count) for count in (2, random.choice((1, 2)))]
    everything = await ends_of(servers, scripts, is_reduced=False)
    reduced = await ends_of(servers, scripts, is_reduced=True)
    assert reduced.found == everything.found, "\n".join(map(str, scripts))


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(40, 70))
async def test_no_end_of_a_random_program_with_limits_is_lost(servers: Servers, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    limits = random.choice(
        (("lock_timeout = '9s'",), ("lock_timeout = '9s'", "lock_timeout = '5s'"))
    )
    plain = [random_script(random, count) for count in (2, random.choice((1, 2)))]
    scripts = [
        replace(script, limit=limit) for script, limit in zip(plain, (*limits, ""), strict=False)
    ]
    everything = await ends_of(servers, scripts, is_reduced=False)
    reduced = await ends_of(servers, scripts, is_reduced=True)
    assert reduced.found == everything.found, "\n".join(map(str, scripts))


async def test_a_row_that_is_locked_before_it_is_changed_needs_one_schedule_an_order(
    servers: Servers,
) -> None:
    scripts = [Script((LOCK, UPDATE), is_transaction=True)] * 2
    found = await ends_of(servers, scripts, is_reduced=True)
    assert found.schedules <= 4
