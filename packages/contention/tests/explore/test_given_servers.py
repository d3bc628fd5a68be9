"""Servers over TCP that ask for a password are explored like the kit's own."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import asyncpg
import psycopg
import psycopg2
import pytest

from contention.explore import Exploration, NotGreenError, explore
from contention.model.verdicts import VerdictKind
from contention.wire.servers import Links, PostgresServer, Servers
from contention.wire.workers import Body

from . import worker_programs as threads
from .given import PASSWORD, TRUSTED, given_servers
from .programs import (
    Program,
    accounts_hold,
    add_one,
    add_one_locked,
    add_one_under_a_redis_lock,
    add_to_both,
    two_accounts,
)


@pytest.fixture(scope="module")
def given() -> Iterator[Servers]:
    with given_servers() as servers:
        yield servers


def trusting(given: Servers) -> Servers:
    return replace(given, postgres=replace(given.postgres, user=TRUSTED, password=""))


async def found_by(given: Servers, *workers: Body, invariant: Program) -> Exploration:
    try:
        return await explore(*workers, setup=two_accounts, invariant=invariant, servers=given)
    except NotGreenError as broken:
        return broken.exploration


async def add_one_by_async_psycopg(links: Links) -> None:
    async with await psycopg.AsyncConnection.connect(links.postgres_url) as connection:
        await connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")


def add_one_by_psycopg2(links: Links) -> None:
    connection = psycopg2.connect(links.postgres_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")
    connection.close()


async def test_a_lost_update_is_found(given: Servers) -> None:
    found = await found_by(given, add_one, threads.add_one, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "the accounts hold 1, not 2" in found.verdict.reason


async def test_a_row_lock_cures_it_in_every_driver(given: Servers) -> None:
    for workers in pairwise(
        [add_one_by_async_psycopg, add_one_locked, threads.add_one_locked, add_one_by_psycopg2]
    ):
        found = await found_by(given, *workers, invariant=accounts_hold(2))
        assert found.verdict.kind is VerdictKind.LEGAL, found.verdict


async def test_a_lock_in_redis_cures_it(given: Servers) -> None:
    workers = [add_one_under_a_redis_lock()] * 2
    found = await found_by(given, *workers, invariant=accounts_hold(2))
    assert found.verdict.kind is VerdictKind.LEGAL, found.verdict


async def test_a_deadlock_is_told_though_the_server_looks_for_it_much_later(
    given: Servers,
) -> None:
    workers = (add_to_both(1, 2), add_to_both(2, 1))
    found = await found_by(given, *workers, invariant=accounts_hold(4))
    assert found.verdict.kind is VerdictKind.ILLEGAL
    assert "deadlock" in found.verdict.reason


class Backends:
    """A worker that notes which backend serves it."""

    def __init__(self) -> None:
        self.process_ids: list[int] = []

    async def note(self, links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url)
        self.process_ids.append(connection.get_server_pid())
        await connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")
        await connection.close()


async def test_who_is_trusted_is_served_by_a_backend_that_is_kept(given: Servers) -> None:
    seen = Backends()
    await found_by(trusting(given), seen.note, seen.note, invariant=accounts_hold(2))
    assert len(set(seen.process_ids)) == 2 < len(seen.process_ids)


async def test_who_gives_a_password_is_asked_for_it_every_time(given: Servers) -> None:
    seen = Backends()
    await found_by(given, seen.note, seen.note, invariant=accounts_hold(2))
    assert len(set(seen.process_ids)) == len(seen.process_ids) > 2


async def test_a_wrong_password_is_refused_though_the_right_one_was_given_before(
    given: Servers,
) -> None:
    refused: list[str] = []

    async def mistaken(links: Links) -> None:
        await add_one(links)
        server = PostgresServer.from_url(links.postgres_url)
        assert server.password == PASSWORD
        try:
            await asyncpg.connect(replace(server, password=PASSWORD[1:]).url)
        except asyncpg.InvalidPasswordError as error:
            refused.append(str(error))

    found = await found_by(given, mistaken, invariant=accounts_hold(1))
    assert found.verdict.kind is VerdictKind.LEGAL
    assert len(refused) > 1
