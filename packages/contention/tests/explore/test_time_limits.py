"""A wait with a time limit of its own may end at any moment: each is tried, or told as left out."""

from contextlib import suppress

import asyncpg
import pytest
from redis.asyncio import Redis

from contention.explore import Exploration, NotGreenError, explore
from contention.model.schedules import Choice, Schedule
from contention.model.steps import Link
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.replay import ReplayScheduler
from contention.schedulers.scheduler import Scheduler
from contention.wire.own_connections import connect_postgres
from contention.wire.servers import Links, Servers

from .programs import Program, add_one_locked, add_to_both, database, two_accounts

UNCLEAR = (
    "left out: what {} does if a time limit of its own ends its wait while others go on: which "
    "one does, or what the server's own code makes of it, cannot be seen"
)
UPDATE = "UPDATE accounts SET amount = amount + 1 WHERE id = 1"
LEGAL, ILLEGAL, UNKNOWN = VerdictKind.LEGAL, VerdictKind.ILLEGAL, VerdictKind.UNKNOWN


async def anything(_links: Links) -> None:
    pass


async def found_by(
    servers: Servers,
    *workers: Program,
    setup: str = "",
    invariant: Program | None = anything,
    scheduler: Scheduler | None = None,
    may_raise: tuple[type[BaseException], ...] = (),
    limits_fire: bool = True,
) -> Exploration:
    async def prepare(links: Links) -> None:
        await two_accounts(links)
        if setup:
            async with database(links) as connection:
                await connection.execute(setup)

    try:
        return await explore(
            *workers,
            setup=prepare,
            invariant=invariant,
            servers=servers,
            scheduler=scheduler,
            may_raise=may_raise,
            limits_fire=limits_fire,
        )
    except NotGreenError as error:
        return error.exploration


def asks(*statements: str, **settings: str) -> Program:
    async def work(links: Links) -> None:
        connection = await asyncpg.connect(links.postgres_url, server_settings=settings)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    return work


def told(found: Exploration) -> tuple[VerdictKind, str]:
    return found.verdict.kind, found.verdict.reason


def in_order(*names: str) -> ReplayScheduler:
    return ReplayScheduler(Schedule(tuple(map(Choice, names))))


# --- PostgreSQL -----------------------------------------------------------------------------------

SET = {
    "by a statement": asks("SET lock_timeout = '10min'", UPDATE),
    "for a transaction": asks("BEGIN", "SET LOCAL lock_timeout = '10min'", UPDATE, "COMMIT"),
    "by a function of the server": asks(
        "SELECT set_config('lock_timeout', '600000', false)", UPDATE
    ),
    "when the connection is opened": asks(UPDATE, lock_timeout="600000"),
    "as an option of the command line": asks(UPDATE, options="-c lock_timeout=10min"),
}


@pytest.mark.parametrize("how", SET)
async def test_a_limit_fires_wherever_it_is_set(servers: Servers, how: str) -> None:
    found = await found_by(servers, SET[how], add_one_locked)
    refusal = "w1 raised LockNotAvailableError: canceling statement due to lock timeout"
    assert found.verdict.kind is ILLEGAL
    assert found.verdict.reason.startswith(f"{refusal} [")
    assert found.counterexample is not None
    fired = [step for step in found.counterexample.steps if step.link is Link.CLOCK]
    assert [(step.actor, step.text) for step in fired] == [
        ("w1", "the time limit of w1 fires: lock_timeout of 600 s")
    ]
    schedule = found.counterexample.schedule
    assert Choice("expire w1/1 lock_timeout") in schedule.choices
    replay = ReplayScheduler(Schedule.from_token(schedule.token()))
    again = await found_by(servers, SET[how], add_one_locked, scheduler=replay)
    assert told(again) == told(found)


async def test_a_limit_of_the_role_fires(servers: Servers) -> None:
    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("ALTER ROLE postgres SET statement_timeout = '10min'")
    try:
        found = await found_by(servers, asks(UPDATE), add_one_locked)
    finally:
        await admin.execute("ALTER ROLE postgres RESET statement_timeout")
        await admin.close()
    assert "raised QueryCanceledError: canceling statement due to statement" in told(found)[1]


NONE = {
    "one of zero": asks("SET lock_timeout = 0", UPDATE),
    "one that is taken back": asks("SET lock_timeout = '10min'", "RESET lock_timeout", UPDATE),
    "one of a transaction that is over": asks(
        "BEGIN", "SET LOCAL lock_timeout = '10min'", "COMMIT", UPDATE
    ),
    "one whose transaction was rolled back": asks(
        "BEGIN", "SET lock_timeout = '10min'", "ROLLBACK", UPDATE
    ),
}


@pytest.mark.parametrize("what", NONE)
async def test_no_limit_never_fires(servers: Servers, what: str) -> None:
    assert told(await found_by(servers, NONE[what], add_one_locked)) == (LEGAL, "")


async def test_a_limit_that_never_has_a_wait_to_end_does_not_fire(servers: Servers) -> None:
    other = asks("UPDATE accounts SET amount = 5 WHERE id = 2")
    found = await found_by(servers, asks("SET lock_timeout = '10min'", UPDATE), other)
    assert told(found) == (LEGAL, "")


async def ends_of(
    servers: Servers, *limits: tuple[str, ...], is_reduced: bool = True
) -> set[tuple[str, ...]]:
    """How workers end that add one under these limits, each beside the others."""
    ends: set[tuple[str, ...]] = set()
    seen: dict[int, str] = {}

    def adds(number: int, settings: tuple[str, ...]) -> Program:
        async def add(links: Links) -> None:
            seen[number] = "lost"
            async with database(links) as connection:
                for setting in settings:
                    await connection.execute(f"SET {setting}")
                try:
                    async with connection.transaction():
                        await connection.execute(UPDATE)
                    seen[number] = "done"
                except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
                    seen[number] = str(error).rpartition("due to ")[2]

        return add

    async def note(links: Links) -> None:
        async with database(links) as connection:
            amount = await connection.fetchval("SELECT amount FROM accounts WHERE id = 1")
        assert amount == list(seen.values()).count("done")
        ends.add(tuple(seen[number] for number in sorted(seen)))

    workers = [adds(number, settings) for number, settings in enumerate(limits)]
    scheduler = ExhaustiveScheduler(is_reduced=is_reduced)
    found = await found_by(servers, *workers, invariant=note, scheduler=scheduler)
    assert told(found) == (LEGAL, "")
    return ends


LOCK, STATEMENT = "lock_timeout = '2s'", "statement_timeout = '1s'"


async def test_of_two_limits_of_one_wait_the_shorter_fires(servers: Servers) -> None:
    assert await ends_of(servers, (LOCK, STATEMENT), ()) == {
        ("done", "done"),
        ("statement timeout", "done"),
    }
    assert await ends_of(servers, (LOCK, "statement_timeout = '3s'"), ()) == {
        ("done", "done"),
        ("lock timeout", "done"),
    }


async def test_a_statement_that_has_waited_before_may_reach_either_limit(servers: Servers) -> None:
    ends: set[str] = set()

    async def waits_twice(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("SET lock_timeout = '2s'")
            await connection.execute("SET statement_timeout = '3s'")
            try:
                await connection.execute("UPDATE accounts SET amount = 9")
            except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
                ends.add(str(error).rpartition("due to ")[2])

    others = [asks("BEGIN", UPDATE.replace("id = 1", f"id = {row}"), "COMMIT") for row in (1, 2)]
    found = await found_by(servers, waits_twice, *others)
    assert told(found) == (LEGAL, "")
    assert ends == {"lock timeout", "statement timeout"}


async def test_no_end_is_lost_to_the_reduction(servers: Servers) -> None:
    reduced = await ends_of(servers, (LOCK,), (STATEMENT,))
    assert reduced == await ends_of(servers, (LOCK,), (STATEMENT,), is_reduced=False)


@pytest.mark.prove
async def test_no_end_of_three_is_lost_to_the_reduction(servers: Servers) -> None:
    limits: tuple[tuple[str, ...], ...] = ((LOCK,), (STATEMENT,), ())
    reduced = await ends_of(servers, *limits)
    assert reduced == await ends_of(servers, *limits, is_reduced=False)


async def test_what_began_before_and_is_shorter_fires_first(servers: Servers) -> None:
    order = ("w3", "w1", "w2", "expire w2/1 lock_timeout")
    workers = [asks(f"SET lock_timeout = '{limit}s'", UPDATE) for limit in (5, 9)]
    found = await found_by(servers, *workers, add_one_locked, scheduler=in_order(*order))
    assert found.verdict.kind is UNKNOWN
    assert "an earlier run and w3, expire w1/1 lock_timeout in this one" in found.verdict.reason


async def test_a_worker_that_tries_again_six_times_is_seen_to_give_up_and_to_succeed(
    servers: Servers,
) -> None:
    tries: set[int] = set()

    async def insist(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("SET lock_timeout = '1s'")
            for count in range(6):
                with suppress(asyncpg.LockNotAvailableError):
                    await connection.execute(UPDATE)
                    tries.add(count)
                    return
            tries.add(6)

    assert told(await found_by(servers, insist, add_one_locked)) == (LEGAL, "")
    assert tries == set(range(7))


async def test_whoever_gives_up_waiting_counts_as_absent_if_it_may_raise(servers: Servers) -> None:
    workers = (asks(UPDATE, lock_timeout="5000"), add_one_locked)
    may_raise = (asyncpg.LockNotAvailableError,)
    found = await found_by(servers, *workers, invariant=None, may_raise=may_raise)
    assert told(found) == (LEGAL, "")


async def test_a_limit_that_is_shorter_than_the_servers_look_for_deadlocks_ends_a_circle(
    servers: Servers,
) -> None:
    def adds(first: int, second: int, limit: str) -> Program:
        async def work(links: Links) -> None:
            async with database(links) as connection:
                await connection.execute(f"SET lock_timeout = '{limit}'")
                with suppress(asyncpg.LockNotAvailableError):
                    async with connection.transaction():
                        for row in (first, second):
                            await connection.execute(UPDATE.replace("id = 1", f"id = {row}"))

        return work

    admin = await connect_postgres(servers.postgres.using("postgres"))
    await admin.execute("ALTER ROLE postgres SET deadlock_timeout = '1min'")
    try:
        in_time = await found_by(servers, adds(1, 2, "30s"), add_to_both(2, 1))
        too_late = await found_by(servers, adds(1, 2, "90s"), add_to_both(2, 1))
    finally:
        await admin.execute("ALTER ROLE postgres RESET deadlock_timeout")
        await admin.close()
    assert told(in_time) == (LEGAL, "")
    assert told(too_late)[1].startswith("deadlock: w")


async def test_a_limit_that_fires_by_the_real_clock_makes_no_verdict(servers: Servers) -> None:
    found = await found_by(servers, asks(UPDATE, lock_timeout="1"), add_one_locked)
    assert found.verdict.kind is UNKNOWN
    assert found.verdict.reason == (
        "the lock_timeout of w1 fired by the real clock in the middle of a step: give it a longer "
        "one in the test"
    )


async def test_limits_that_shall_not_fire_do_so_only_when_nobody_else_goes_on(
    servers: Servers,
) -> None:
    kept: dict[str, object] = {}

    async def stays(links: Links) -> None:
        connection = kept["connection"] = await asyncpg.connect(links.postgres_url)
        await connection.execute("BEGIN")
        await connection.execute(UPDATE)

    limited = asks(UPDATE, lock_timeout="600000")
    everything = ExhaustiveScheduler(is_reduced=False)
    calm = await found_by(servers, limited, add_one_locked, scheduler=everything, limits_fire=False)
    assert told(calm) == (LEGAL, "")
    assert any(note.startswith("limits_fire=False") for note in calm.notes)
    stuck = await found_by(servers, limited, stays, limits_fire=False)
    assert "w1 raised LockNotAvailableError" in told(stuck)[1]


HIDDEN = {
    "a function that sets it": (
        "SELECT hurry()",
        """
        CREATE FUNCTION hurry() RETURNS void LANGUAGE sql
        AS $$ SELECT set_config('lock_timeout', '10min', false) $$;
        """,
    ),
    "a function that is given its name": (
        "SELECT hurry()",
        """
        CREATE FUNCTION hurry() RETURNS void LANGUAGE plpgsql
        AS $$ BEGIN EXECUTE 'SET statement_timeout = ''10min'''; END $$;
        """,
    ),
    "a function that may make something else of it": (
        "SET lock_timeout = '10min'",
        """
        CREATE FUNCTION hurry() RETURNS void LANGUAGE plpgsql
        AS $$ BEGIN UPDATE accounts SET amount = 1;
        EXCEPTION WHEN lock_not_available THEN NULL; END $$;
        """,
    ),
    "a text that the server runs": (
        "DO $$ BEGIN EXECUTE 'SET lock_timeout = ' || 600000; END $$",
        "",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_a_limit_that_cannot_be_seen_is_told(servers: Servers, name: str) -> None:
    statement, setup = HIDDEN[name]
    found = await found_by(servers, asks(statement, UPDATE), add_one_locked, setup=setup)
    # A function that sets one may be anybody's; which of the two waits first is no matter.
    assert told(found) in [(UNKNOWN, UNCLEAR.format(name)) for name in ("w1", "w2")]


# --- Redis ----------------------------------------------------------------------------------------


def pops(seconds: int, seen: dict[str, object], name: str) -> Program:
    async def pop(links: Links) -> None:
        async with Redis.from_url(links.redis_url, socket_timeout=None) as redis:
            seen[name] = await redis.blpop(["jobs"], timeout=seconds)

    return pop


async def push(links: Links) -> None:
    async with Redis.from_url(links.redis_url) as redis:
        await redis.rpush("jobs", "tea")


def noting(seen: dict[str, object], ends: set[tuple[bool, ...]]) -> Program:
    async def note(_links: Links) -> None:
        ends.add(tuple(seen[name] is not None for name in sorted(seen)))

    return note


@pytest.mark.parametrize("is_reduced", [True, False])
async def test_each_of_two_blocking_commands_may_give_up(
    servers: Servers, *, is_reduced: bool
) -> None:
    seen: dict[str, object] = {}
    ends: set[tuple[bool, ...]] = set()
    found = await found_by(
        servers,
        pops(600, seen, "one"),
        pops(600, seen, "other"),
        push,
        invariant=noting(seen, ends),
        scheduler=ExhaustiveScheduler(is_reduced=is_reduced),
    )
    assert told(found) == (LEGAL, "")
    assert ends == {(True, False), (False, True), (False, False)}


async def test_to_give_up_waiting_at_once_is_an_order_one_after_another(servers: Servers) -> None:
    async def pop(links: Links) -> object:
        async with Redis.from_url(links.redis_url, socket_timeout=None) as redis:
            return await redis.blpop(["jobs"], timeout=600)

    assert told(await found_by(servers, pop, push, invariant=None)) == (LEGAL, "")


@pytest.mark.parametrize(("seconds", "lives"), [(5, {True, False}), (60, {False})])
async def test_a_lease_that_is_shorter_and_was_there_before_the_wait_runs_out_before_it(
    servers: Servers, seconds: int, lives: set[bool]
) -> None:
    ends: set[bool] = set()

    async def wait(links: Links) -> None:
        async with Redis.from_url(links.redis_url, socket_timeout=None) as redis:
            await redis.set("lease", "w1", ex=30)
            if await redis.blpop(["jobs"], timeout=seconds) is None:
                ends.add(bool(await redis.exists("lease")))

    assert told(await found_by(servers, wait)) == (LEGAL, "")
    assert ends == lives


# --- what a run could not be put back after -------------------------------------------------------

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
