"""What is wrong with the servers is a failed check that says so, and never a traceback."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from claimwright.embedded import ServerAddresses, create_database, drop_database
from claimwright.operations.doctor import Check, Diagnosis, Health, examine
from claimwright.runtime import Runtime, open_runtime, reach_servers
from claimwright.settings import load_settings
from claimwright.storage.guards import GUARDS, standing_guards
from support.databases import Connections, environment_of
from support.weather import World

_REPLACED = (
    "CREATE OR REPLACE FUNCTION admit_claims() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NULL; END'"
)
SECRET = "hunter2-hunter2"  # noqa: S105 - it must not show


@asynccontextmanager
async def runtime_on(addresses: ServerAddresses, **more: str) -> AsyncIterator[Runtime]:
    settings = load_settings(environment_of(addresses) | more)
    async with open_runtime(settings, reach_servers(settings, ExitStack())) as runtime:
        yield runtime


def check_of(diagnosis: Diagnosis, name: str) -> Check:
    return next(check for check in diagnosis.checks if check.name == name)


async def test_servers_that_fit_are_healthy(fresh_runtime: Runtime) -> None:
    diagnosis = await examine(fresh_runtime)
    assert diagnosis.healthy
    # The servers of the tests need not survive a crash.
    assert [check.name for check in diagnosis.checks if check.health is Health.WARN] == [
        "durability"
    ]


async def test_the_guards_that_have_to_be_are_those_that_the_migrations_make(
    fresh_runtime: Runtime,
) -> None:
    async with fresh_runtime.engine.connect() as connection:
        standing = await standing_guards(connection)
    assert standing.keys() == GUARDS
    assert all(standing.values())


@pytest.mark.parametrize(
    ("weakening", "said"),
    [
        ("DROP TRIGGER claims_admitted ON claims", "claims_admitted on claims is missing"),
        (
            "ALTER TABLE claims DISABLE TRIGGER claims_moved",
            "claims_moved on claims does not always fire",
        ),
        (
            "ALTER TABLE claims ENABLE TRIGGER claims_moved",
            "claims_moved on claims does not always fire",
        ),
        (
            _REPLACED,
            "the function admit_claims was changed",
        ),
    ],
)
async def test_a_guard_that_was_weakened_is_named(
    fresh_runtime: Runtime, fresh_connections: Connections, weakening: str, said: str
) -> None:
    await (await fresh_connections.superuser()).execute(weakening)
    check = check_of(await examine(fresh_runtime), "guards")
    assert (check.health, check.detail) == (Health.FAIL, said)


async def test_a_role_that_owns_tables_fails(fresh_database: ServerAddresses) -> None:
    owner = replace(fresh_database, database_url=fresh_database.owner_database_url)
    async with runtime_on(owner) as runtime:
        check = check_of(await examine(runtime), "role")
    assert check.health is Health.FAIL
    assert "owns" in check.detail


async def test_a_superuser_fails(fresh_database: ServerAddresses) -> None:
    superuser = replace(fresh_database, database_url=fresh_database.superuser_database_url)
    async with runtime_on(superuser) as runtime:
        check = check_of(await examine(runtime), "role")
    assert check.health is Health.FAIL
    assert "superuser" in check.detail


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("DELETE ON claims", "DELETE on claims"),
        ("UPDATE (exhaustion_minor) ON claims", "UPDATE (exhaustion_minor) on claims"),
        ("UPDATE (value) ON readings", "UPDATE (value) on readings"),
        ("INSERT ON policy_accounts", "INSERT on policy_accounts"),
    ],
)
async def test_a_right_that_nobody_needs_fails(
    fresh_runtime: Runtime, fresh_connections: Connections, grant: str, said: str
) -> None:
    await (await fresh_connections.owner()).execute(f"GRANT {grant} TO claimwright_app")
    check = check_of(await examine(fresh_runtime), "role")
    assert check.health is Health.FAIL
    assert said in check.detail


async def test_a_database_without_a_schema_fails(servers: ServerAddresses) -> None:
    empty = create_database(servers, "empty_for_the_doctor")
    async with runtime_on(empty) as runtime:
        diagnosis = await examine(runtime)
    drop_database(servers, "empty_for_the_doctor")
    check = check_of(diagnosis, "schema")
    assert check.health is Health.FAIL
    assert "claimwright init" in check.detail


async def test_a_limit_that_is_not_in_force_fails(
    fresh_database: ServerAddresses,
) -> None:
    async with runtime_on(fresh_database) as runtime:
        wanted = load_settings(
            environment_of(fresh_database) | {"CLAIMWRIGHT_STATEMENT_TIMEOUT_MS": "4500"}
        )
        check = check_of(await examine(replace(runtime, settings=wanted)), "time-outs")
    assert check.health is Health.FAIL
    assert "statement_timeout is 5000 ms" in check.detail


async def test_servers_that_are_away_fail_without_showing_passwords(
    fresh_database: ServerAddresses,
) -> None:
    away = {
        "CLAIMWRIGHT_DATABASE_URL": f"postgresql://somebody:{SECRET}@127.0.0.1:9/claims",
        "CLAIMWRIGHT_OWNER_DATABASE_URL": "",
        "CLAIMWRIGHT_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:9/0",
    }
    async with runtime_on(fresh_database, **away) as runtime:
        diagnosis = await examine(runtime)
    assert [(check.name, check.health) for check in diagnosis.checks] == [
        ("PostgreSQL", Health.FAIL),
        ("Redis", Health.FAIL),
    ]
    assert SECRET not in repr(diagnosis)


async def test_work_that_waits_for_long_is_a_warning(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    await World(fresh_runtime).rain(date(2025, 6, 7), ["1.0"])
    assert check_of(await examine(fresh_runtime), "pending work").health is Health.OK
    await (await fresh_connections.superuser()).execute(
        "UPDATE work_requests SET requested_at = $1", datetime.now(UTC) - timedelta(hours=2)
    )
    check = check_of(await examine(fresh_runtime), "pending work")
    assert check.health is Health.WARN
    assert check.detail.startswith("1 request,")


async def test_zones_that_policies_use_are_compared(fresh_runtime: Runtime) -> None:
    await World(fresh_runtime).insure({"P1": 1_000})
    assert "1 zone in use" in check_of(await examine(fresh_runtime), "time zones").detail
