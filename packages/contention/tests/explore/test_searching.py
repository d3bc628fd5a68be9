"""How a search ends: shrunk, repeated, remembered, bounded, cancelled."""

import asyncio
import itertools
import threading
from uuid import uuid4

import pytest

from contention.explore import Bounds, NotGreenError, UndecidedError, explore
from contention.model.schedules import Schedule
from contention.model.verdicts import VerdictKind
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.search.ambient import Ambient, surrounded_by
from contention.search.start import RUN, TEMPLATE, connect
from contention.wire.servers import Links, Servers

from .programs import (
    READ,
    accounts_hold,
    add_one,
    add_one_locked,
    commit_after_the_lock_is_released,
    database,
    two_accounts,
)


class Notebook:
    """Remembers schedules as long as the test lasts."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Schedule]] = {}

    def recall(self, name: str) -> list[Schedule]:
        return self.kept.get(name, [])

    def remember(self, name: str, schedule: Schedule) -> None:
        self.kept[name] = [schedule]

    def forget(self, name: str) -> None:
        self.kept.pop(name, None)


class LongWay(ExhaustiveScheduler):
    """Prefers to switch, so that the first failure it finds is a roundabout one."""

    def choose(self, options: object) -> str | None:
        return super().choose(list(reversed(options)))  # type: ignore[call-overload]


async def test_a_counterexample_has_as_few_preemptions_as_any(servers: Servers) -> None:
    with pytest.raises(NotGreenError) as broken:
        await explore(
            add_one,
            add_one,
            setup=two_accounts,
            invariant=accounts_hold(2),
            servers=servers,
            scheduler=LongWay(is_reduced=False),
        )
    found = broken.value.exploration
    assert found.counterexample is not None
    assert found.counterexample.schedule.switches <= 2
    assert found.shrinking > 0


async def test_requests_that_differ_from_run_to_run_are_undecided(servers: Servers) -> None:
    counter = itertools.count()

    async def moody(links: Links) -> None:
        async with database(links) as connection:
            await connection.fetchval(
                READ if next(counter) % 2 else "SELECT max(amount) FROM accounts"
            )

    with pytest.raises(
        UndecidedError, match="does not give the same steps: step 1 was w1 SELECT amount"
    ):
        await explore(moody, setup=two_accounts, invariant=accounts_hold(0), servers=servers)


async def test_values_that_differ_from_run_to_run_are_told_and_harmless(servers: Servers) -> None:
    async def note(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute("INSERT INTO orders VALUES ($1)", str(uuid4()))

    found = await explore(note, setup=two_accounts, invariant=accounts_hold(0), servers=servers)
    assert found.verdict.kind is VerdictKind.LEGAL
    (told,) = found.notes
    assert told.startswith("values differ when the same schedule is run again, first at step 1: w1")


async def test_what_failed_is_tried_first_until_it_is_green(servers: Servers) -> None:
    notebook = Notebook()
    with surrounded_by(Ambient(servers=servers, memory=notebook, name="the test")):
        with pytest.raises(NotGreenError):
            await explore(add_one, add_one, setup=two_accounts, invariant=accounts_hold(2))
        assert list(notebook.kept) == ["the test"]
        with pytest.raises(NotGreenError) as again:
            await explore(add_one, add_one, setup=two_accounts, invariant=accounts_hold(2))
        assert again.value.exploration.schedules == 1
        await explore(
            add_one_locked, add_one_locked, setup=two_accounts, invariant=accounts_hold(2)
        )
    assert notebook.kept == {}


async def test_a_replay_runs_nothing_else(servers: Servers) -> None:
    with pytest.raises(NotGreenError) as broken:
        await explore(
            add_one, add_one, setup=two_accounts, invariant=accounts_hold(2), servers=servers
        )
    counterexample = broken.value.exploration.counterexample
    assert counterexample is not None
    schedule = Schedule.from_token(counterexample.schedule.token())
    with (
        surrounded_by(Ambient(servers=servers, replay=schedule)),
        pytest.raises(NotGreenError) as replayed,
    ):
        await explore(add_one, add_one, setup=two_accounts, invariant=accounts_hold(2))
    assert replayed.value.exploration.schedules == 1
    assert replayed.value.exploration.counterexample == counterexample


async def test_schedules_and_time_that_run_out_are_undecided(servers: Servers) -> None:
    for bounds, said in (
        (Bounds(schedules=2), "2 schedules ran out"),
        (Bounds(seconds=0), "0 seconds ran out"),
    ):
        with pytest.raises(UndecidedError, match=said):
            await explore(
                *[add_one_locked] * 3,
                setup=two_accounts,
                invariant=accounts_hold(3),
                servers=servers,
                bounds=bounds,
            )


async def test_a_run_begins_with_the_scripts_that_the_rehearsal_brought(servers: Servers) -> None:
    with pytest.raises(NotGreenError) as broken:
        await explore(
            commit_after_the_lock_is_released,
            commit_after_the_lock_is_released,
            setup=two_accounts,
            invariant=accounts_hold(2),
            servers=servers,
        )
    told = str(broken.value)
    assert "EVALSHA" in told
    assert "NOSCRIPT" not in told
    assert "SCRIPT LOAD" not in told


async def test_an_undecided_search_shows_the_run_in_which_it_ended(servers: Servers) -> None:
    async def asks_and_falls_silent(links: Links) -> None:
        async with database(links) as connection:
            await connection.fetchval(READ)
            await asyncio.Event().wait()

    with pytest.raises(UndecidedError, match="neither ends, waits nor asks") as undecided:
        await explore(
            asks_and_falls_silent,
            setup=two_accounts,
            invariant=accounts_hold(0),
            servers=servers,
            bounds=Bounds(silence_seconds=0.3),
        )
    stopped = undecided.value.exploration.stopped
    assert stopped is not None
    assert [step.text for step in stopped.steps] == [READ]
    assert READ in str(undecided.value)


async def test_whoever_cancels_an_exploration_finds_everything_closed(servers: Servers) -> None:
    has_begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def look(links: Links) -> None:
        loop.call_soon_threadsafe(has_begun.set)
        await add_one(links)

    task = asyncio.create_task(
        explore(look, look, look, setup=two_accounts, invariant=accounts_hold(3), servers=servers)
    )
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [one for one in threading.enumerate() if one.name.startswith("contention")]
    admin = await connect(servers, "postgres")
    names = "SELECT count(*) FROM pg_database WHERE datname = ANY($1)"
    assert await admin.fetchval(names, [RUN, TEMPLATE]) == 0
    await admin.close()


async def test_a_setup_that_fails_fails_the_exploration_with_its_own_error(
    servers: Servers,
) -> None:
    async def wrong(_links: Links) -> None:
        raise LookupError("no such file of goods")

    with pytest.raises(LookupError, match="no such file of goods"):
        await explore(add_one, setup=wrong, invariant=accounts_hold(0), servers=servers)


async def test_without_workers_or_servers_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="no workers"):
        await explore(setup=two_accounts)
    with pytest.raises(ValueError, match="ask for the fixtures postgres and redis"):
        await explore(add_one, setup=two_accounts)
