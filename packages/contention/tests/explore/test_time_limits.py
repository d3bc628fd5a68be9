"""A wait with a limit of its own may end at any moment: what was not tried is told."""

import asyncpg
import pytest
from redis.asyncio import Redis

from contention.explore import Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, Servers

from .programs import Program, add_one_locked, database, two_accounts

LIMITED = "left out: what w1 does if a time limit of its own ends its wait while others go on"
UPDATE = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"


async def anything(_links: Links) -> None:
    pass


async def found_by(servers: Servers, *workers: Program, setup: str = "") -> Exploration:
    async def prepare(links: Links) -> None:
        await two_accounts(links)
        if setup:
            async with database(links) as connection:
                await connection.execute(setup)

    try:
        return await explore(*workers, setup=prepare, invariant=anything, servers=servers)
    except NotGreenError as error:
        return error.exploration


def asks(*statements: str) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection:
            for statement in statements:
                await connection.execute(statement)

    return work


async def pop(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as redis:
        await redis.blpop(["jobs"], timeout=600)


async def push(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as redis:
        await redis.rpush("jobs", "tea")


async def test_a_limit_that_a_worker_sets_is_told_if_it_may_end_a_wait(servers: Servers) -> None:
    found = await found_by(servers, asks("SET lock_timeout = '10min'", UPDATE), add_one_locked)
    assert (found.verdict.kind, found.verdict.reason) == (VerdictKind.UNKNOWN, LIMITED)


async def test_a_limit_that_never_has_a_wait_to_end_is_none(servers: Servers) -> None:
    other = asks("UPDATE accounts SET amount = 5 WHERE id = 2")
    found = await found_by(servers, asks("SET lock_timeout = '10min'", UPDATE), other)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_no_limit_is_none(servers: Servers) -> None:
    found = await found_by(servers, asks("SET lock_timeout = 0", UPDATE), add_one_locked)
    assert found.verdict.kind is VerdictKind.LEGAL


async def test_a_blocking_command_with_a_limit_is_told(servers: Servers) -> None:
    found = await found_by(servers, pop, push)
    assert (found.verdict.kind, found.verdict.reason) == (VerdictKind.UNKNOWN, LIMITED)


HIDDEN = {
    "a function that sets it": """
        CREATE FUNCTION hurry() RETURNS void LANGUAGE sql
        AS $$ SELECT set_config('lock_timeout', '10min', false) $$;
        """,
    "a function that is given its name": """
        CREATE FUNCTION hurry() RETURNS void LANGUAGE plpgsql
        AS $$ BEGIN EXECUTE 'SET statement_timeout = ''10min'''; END $$;
        """,
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_a_limit_that_a_function_sets_is_told(servers: Servers, name: str) -> None:
    workers = (asks("SELECT hurry()", UPDATE), add_one_locked)
    found = await found_by(servers, *workers, setup=HIDDEN[name])
    assert found.verdict.kind is VerdictKind.UNKNOWN
    assert "if a time limit of its own ends its wait" in found.verdict.reason


REFUSED = (
    "what may turn track_counts off cannot pass a gate: by these counts the kit finds what a run "
    "has changed"
)


async def test_who_turns_off_the_counts_by_which_runs_are_put_back_is_undecided(
    servers: Servers,
) -> None:
    async def at_log_in(links: Links) -> None:
        connection = await asyncpg.connect(
            links.postgres_url, server_settings={"options": "-c track_counts=off"}
        )
        await connection.execute(UPDATE)
        await connection.close()

    for worker in (asks("SET track_counts = off", UPDATE), at_log_in):
        found = await found_by(servers, worker)
        assert found.verdict.kind is VerdictKind.UNKNOWN
        assert found.verdict.reason == f"w1: {REFUSED}"


async def test_a_function_that_may_turn_them_off_is_undecided(servers: Servers) -> None:
    function = """
        CREATE FUNCTION configure(name text) RETURNS void LANGUAGE sql
        AS $$ SELECT set_config(name, 'off', false) $$;
        """
    found = await found_by(servers, asks(UPDATE), setup=function)
    assert (found.verdict.kind, found.verdict.reason) == (VerdictKind.UNKNOWN, REFUSED)
