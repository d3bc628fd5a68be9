"""Databases that fail in the middle of a calculation: nothing half done, and done again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from claimwright import CalculationError, Policy
from claimwright.domain.errors import InvalidTermsError, NotFoundError
from claimwright.domain.layers import ClaimDraft
from claimwright.locks import lease_key
from claimwright.operations.calculate import Case, PolicyCalculation, read_case, settle
from claimwright.runtime import Runtime
from claimwright.storage.cases import lock_policy
from claimwright.storage.database import Driver, TransactionLimits, make_engine, make_sessions
from claimwright.testing import TEST_DATE, create_test_policy
from support.databases import Connection, Connections
from support.ordering import PATIENCE_SECONDS, wait_until_blocked

from .staging import Hold, calculate, counted, insure, live_amounts
from .wire import wire_to


@asynccontextmanager
async def disposed(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    try:
        yield engine
    finally:
        await engine.dispose()


async def terminate(superuser: Connection, pid: int) -> None:
    """End a session, and return when the server has forgotten it."""
    await superuser.execute("SELECT pg_terminate_backend($1)", pid)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
            pass


async def test_a_connection_ended_between_two_statements_leaves_nothing_and_is_done_again(
    runtime: Runtime, connections: Connections
) -> None:
    superuser = await connections.superuser()
    policy = await insure(runtime.sessions, tiers=["tier1", "tier2"])
    hold = Hold()
    running = asyncio.create_task(
        calculate(runtime, policy, calculation=hold.after_reading(PolicyCalculation()))
    )
    await hold.reached.wait()
    await terminate(superuser, hold.pid)
    assert await live_amounts(runtime, policy) == []
    hold.let_go.set()
    assert [claim.amount_minor for claim in await running] == [2_000_000, 3_000_000]
    assert await live_amounts(runtime, policy) == [2_000_000, 3_000_000]


@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_a_commit_cut_on_the_wire_returns_what_was_stored_exactly_once(
    lost: str, runtime: Runtime
) -> None:
    policy = await insure(runtime.sessions, tiers=["tier1", "tier2"])
    async with (
        wire_to(runtime.addresses.database_url) as wire,
        disposed(make_engine(wire.url)) as engine,
    ):
        wire.lose = lost
        async with counted("transactions_retried", sqlstate="08003") as retried:
            claims = await calculate(runtime, policy, sessions=make_sessions(engine))
    assert (wire.cuts, retried) == (1, [1])
    assert [claim.amount_minor for claim in claims] == [2_000_000, 3_000_000]
    assert await live_amounts(runtime, policy) == [2_000_000, 3_000_000]


async def test_a_commit_of_nothing_that_is_cut_returns_nothing(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    await calculate(runtime, policy)
    async with (
        wire_to(runtime.addresses.database_url) as wire,
        disposed(make_engine(wire.url)) as engine,
    ):
        wire.lose = "reply"
        assert await calculate(runtime, policy, sessions=make_sessions(engine)) == []
    assert wire.cuts == 1
    assert await live_amounts(runtime, policy) == [2_000_000]


async def test_a_commit_whose_reply_is_lost_for_good_is_not_called_undone(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)
    async with (
        wire_to(runtime.addresses.database_url) as wire,
        disposed(make_engine(wire.url)) as engine,
    ):

        def go_down(case: Case) -> list[ClaimDraft]:
            wire.lose, wire.is_down = "reply", True
            return settle(case)

        with pytest.raises(CalculationError, match="may have been stored"):
            await calculate(
                runtime,
                policy,
                calculation=PolicyCalculation(settle=go_down),
                sessions=make_sessions(engine),
            )
    assert await live_amounts(runtime, policy) == [2_000_000]
    assert await calculate(runtime, policy) == []


async def test_the_victim_of_a_deadlock_is_done_again(
    runtime: Runtime, connections: Connections
) -> None:
    rival, watcher = await connections.superuser(), await connections.superuser()
    policy, other = await insure(runtime.sessions), await insure(runtime.sessions)
    rival_waits = asyncio.Event()
    locked = asyncio.Event()

    async def lock_the_other_too(connection: Driver, policy_id: int, target_date: date) -> Case:
        locked.set()
        await rival_waits.wait()
        await lock_policy(connection, other.id)
        return await read_case(connection, policy_id, target_date)

    await rival.execute("BEGIN; SET LOCAL deadlock_timeout = '1h'")
    await lock(rival, other)
    async with counted("transactions_retried", sqlstate="40P01") as retried:
        running = asyncio.create_task(
            calculate(runtime, policy, calculation=PolicyCalculation(read_case=lock_the_other_too))
        )
        await locked.wait()
        rival_locks = asyncio.create_task(lock(rival, policy))
        await wait_until_blocked(watcher, rival.get_server_pid())
        rival_waits.set()
        await rival_locks
        await rival.execute("COMMIT")
        assert len(await running) == 1
    # On a busy machine the next try can overtake the rival, who is woken but not running yet.
    assert retried[0] >= 1
    assert await live_amounts(runtime, policy) == [2_000_000]


async def lock(connection: Connection, policy: Policy) -> None:
    await connection.execute("SELECT FROM policies WHERE id = $1 FOR UPDATE", policy.id)


async def test_a_lock_that_does_not_come_in_time_is_waited_for_again(
    runtime: Runtime, connections: Connections
) -> None:
    rival = await connections.application()
    policy = await insure(runtime.sessions)
    gave_up = asyncio.Event()

    async def lock_and_tell(connection: Driver, policy_id: int) -> None:
        try:
            await lock_policy(connection, policy_id)
        except BaseException:
            gave_up.set()
            raise

    await rival.execute("BEGIN")
    await lock(rival, policy)
    limits = TransactionLimits(lock_ms=20)
    async with (
        counted("transactions_retried", sqlstate="55P03") as retried,
        disposed(make_engine(runtime.addresses.database_url, limits=limits)) as engine,
    ):
        running = asyncio.create_task(
            calculate(
                runtime,
                policy,
                calculation=PolicyCalculation(lock_policy=lock_and_tell),
                sessions=make_sessions(engine),
            )
        )
        await gave_up.wait()
        await rival.execute("COMMIT")
        assert len(await running) == 1
    assert retried[0] >= 1


async def test_an_error_that_stays_is_raised_with_its_cause_and_stores_nothing(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)

    async def divide(connection: Driver, _policy_id: int, _target_date: date) -> Case:
        await connection.execute("SELECT 1 / 0")
        raise AssertionError

    with pytest.raises(CalculationError, match="22012; nothing was stored") as raised:
        await calculate(runtime, policy, calculation=PolicyCalculation(read_case=divide))
    assert "division by zero" in str(raised.value.__cause__)
    assert await live_amounts(runtime, policy) == []
    assert not await runtime.redis.exists(lease_key(policy.id, TEST_DATE))


async def test_rules_that_refuse_are_raised_as_they_are_and_store_nothing(
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)

    def refuse(_case: Case) -> list[ClaimDraft]:
        raise InvalidTermsError("payout.tiers", "for the test")

    with pytest.raises(InvalidTermsError):
        await calculate(runtime, policy, calculation=PolicyCalculation(settle=refuse))
    assert await live_amounts(runtime, policy) == []
    assert len(await calculate(runtime, policy)) == 1


async def test_a_policy_that_there_is_not_is_named(runtime: Runtime) -> None:
    nobody = create_test_policy()
    with pytest.raises(NotFoundError, match=f"there is no policy {nobody.id}"):
        await PolicyCalculation().run(
            runtime.sessions(), runtime.redis, nobody.id, TEST_DATE, runtime.lease_options
        )


async def test_more_errors_than_attempts_end_as_a_calculation_error(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    url = runtime.addresses.database_url.replace("host=", "host=%2Fnowhere")
    async with disposed(make_engine(url)) as engine:
        with pytest.raises(CalculationError, match="08001; nothing was stored"):
            await calculate(runtime, policy, sessions=make_sessions(engine))
    assert not await runtime.redis.exists(lease_key(policy.id, TEST_DATE))


async def test_a_database_that_there_is_not_ends_as_a_calculation_error(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    url = runtime.addresses.database_url.replace("session_database", "nowhere")
    async with disposed(make_engine(url)) as engine:
        with pytest.raises(CalculationError, match="3D000; nothing was stored"):
            await calculate(runtime, policy, sessions=make_sessions(engine))


async def test_an_exhausted_pool_ends_as_a_calculation_error(runtime: Runtime) -> None:
    policy = await insure(runtime.sessions)
    engine = create_async_engine(
        runtime.addresses.database_url, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    async with disposed(engine), engine.connect():
        with pytest.raises(CalculationError, match="nothing was stored"):
            await calculate(runtime, policy, sessions=make_sessions(engine))


@pytest.mark.parametrize("waiting_for", ["its own", "the server"])
async def test_a_cancelled_calculation_stores_nothing_and_leaves_its_connection_usable(
    waiting_for: str, runtime: Runtime, connections: Connections
) -> None:
    rival, watcher = await connections.application(), await connections.superuser()
    policy = await insure(runtime.sessions)
    hold = Hold()
    engine = make_engine(runtime.addresses.database_url, pool_size=1)
    async with disposed(engine):
        sessions = make_sessions(engine)
        async with engine.connect() as connection:
            pid = int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)
        if waiting_for == "the server":
            await rival.execute("BEGIN")
            await lock(rival, policy)
        running = asyncio.create_task(
            calculate(
                runtime,
                policy,
                calculation=hold.after_reading(PolicyCalculation()),
                sessions=sessions,
            )
        )
        if waiting_for == "the server":
            await wait_until_blocked(watcher, pid)
        else:
            await hold.reached.wait()
        assert await runtime.redis.exists(lease_key(policy.id, TEST_DATE))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await rival.execute("ROLLBACK")
        assert not await runtime.redis.exists(lease_key(policy.id, TEST_DATE))
        assert await live_amounts(runtime, policy) == []
        assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        claims = await calculate(runtime, policy, sessions=sessions)
        assert [claim.payout_percentage for claim in claims] == [Decimal(20)]


async def test_a_schema_that_changes_under_prepared_statements_is_met_by_another_try(
    fresh_runtime: Runtime, fresh_connections: Connections
) -> None:
    owner = await fresh_connections.superuser()
    first, second = await insure(fresh_runtime.sessions), await insure(fresh_runtime.sessions)
    engine = make_engine(fresh_runtime.addresses.database_url, pool_size=1)
    async with disposed(engine), counted("transactions_retried", sqlstate="0A000") as retried:
        sessions = make_sessions(engine)
        assert len(await calculate(fresh_runtime, first, sessions=sessions)) == 1
        await owner.execute("ALTER TABLE claims ALTER COLUMN status TYPE varchar(20)")
        assert len(await calculate(fresh_runtime, second, sessions=sessions)) == 1
    assert retried == [1]


@pytest.mark.parametrize(
    ("option", "kept"), [("", True), ("prepared_statement_cache_size=0", False)]
)
async def test_behind_a_pooler_no_statement_stays_prepared(
    option: str,
    kept: bool,  # noqa: FBT001 - a parameter of the test
    runtime: Runtime,
) -> None:
    policy = await insure(runtime.sessions)
    url = runtime.addresses.database_url
    engine = make_engine(
        f"{url}{'&' if '?' in url else '?'}{option}" if option else url, pool_size=1
    )
    async with disposed(engine):
        assert len(await calculate(runtime, policy, sessions=make_sessions(engine))) == 1
        async with engine.connect() as connection:
            named = text("SELECT count(*) > 1 FROM pg_prepared_statements WHERE name <> ''")
            assert await connection.scalar(named) is kept
