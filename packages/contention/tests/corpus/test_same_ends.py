"""Over the corpus the reduced search finds every end that the unreduced one finds.

Where a lease may run out at any moment the unreduced search takes hours: there it is every schedule
with two preemptions at most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from contention.explore import Bounds, explore
from contention.schedulers.bounded import BoundedScheduler
from contention.schedulers.exhaustive import ExhaustiveScheduler
from contention.schedulers.scheduler import Scheduler
from contention.wire.servers import Servers

from .corpus import CORPUS
from .drivers import DRIVERS, Program
from .machine import Machine, RefusedError
from .scenario import BusyError, Scenario, Truth

ASYNCPG, *_ = DRIVERS
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


@dataclass(slots=True)
class Ends:
    """Every end that a search came to: tables, keys, and what each worker returned or raised."""

    found: set[str] = field(default_factory=set)
    results: dict[int, object] = field(default_factory=dict)

    def noting(self, number: int, program: Program) -> Program:
        """A program whose result is remembered."""

        async def work(machine: Machine) -> None:
            try:
                self.results[number] = await program(machine)
            except (RefusedError, BusyError, AssertionError) as error:
                self.results[number] = type(error).__name__

        return work

    async def note(self, machine: Machine) -> None:
        """Remember how a run ended."""
        tables = {
            name: sorted(await machine.rows(f"SELECT * FROM {name}"))
            for (name,) in await machine.rows(_TABLES)
        }
        self.found.add(repr((tables, await _contents(machine), sorted(self.results.items()))))


async def ends_of(servers: Servers, scenario: Scenario, *, is_reduced: bool) -> set[str]:
    return await ends_by(servers, scenario, ExhaustiveScheduler(is_reduced=is_reduced))


async def ends_by(servers: Servers, scenario: Scenario, scheduler: Scheduler) -> set[str]:
    ends = Ends()
    workers = [ends.noting(*numbered) for numbered in enumerate(scenario.workers, start=1)]
    await explore(
        *[ASYNCPG.worker(program) for program in workers],
        setup=ASYNCPG.task(scenario.begin),
        invariant=ASYNCPG.task(ends.note),
        servers=servers,
        scheduler=scheduler,
        bounds=Bounds(seconds=250),
    )
    return ends.found


async def _contents(machine: Machine) -> Mapping[str, str | None]:
    names = sorted(map(str, await machine.keys.ask("KEYS", "*")))
    return {name: await machine.keys.get(name) for name in names}


@pytest.mark.prove
@pytest.mark.parametrize(
    "scenario", [one for one in CORPUS if not one.has_leases], ids=lambda one: one.name
)
async def test_the_reduced_search_loses_no_end(servers: Servers, scenario: Scenario) -> None:
    everything = await ends_of(servers, scenario, is_reduced=False)
    assert await ends_of(servers, scenario, is_reduced=True) == everything


@pytest.mark.prove
@pytest.mark.parametrize(
    "scenario", [one for one in CORPUS if one.has_leases], ids=lambda one: one.name
)
async def test_the_reduced_search_loses_no_end_of_two_preemptions(
    servers: Servers, scenario: Scenario
) -> None:
    some = await ends_by(servers, scenario, BoundedScheduler(2))
    assert some
    assert some <= await ends_of(servers, scenario, is_reduced=True)


async def double(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("UPDATE accounts SET amount = amount * $1", 2)


async def add_one_alone(machine: Machine) -> None:
    async with machine.transaction():
        await machine.execute("LOCK TABLE accounts IN EXCLUSIVE MODE")
        await machine.execute("UPDATE accounts SET amount = amount + 1")


async def test_to_prepare_a_statement_is_not_to_come_first(servers: Servers) -> None:
    one_account = "CREATE TABLE accounts (amount int); INSERT INTO accounts VALUES (1)"
    scenario = Scenario("", Truth.HOLDS, "", (double, add_one_alone), one_account)
    ends = await ends_of(servers, scenario, is_reduced=True)
    assert len(ends) == 2, ends


async def test_numbers_that_a_driver_gives_to_savepoints_are_no_difference(
    servers: Servers,
) -> None:
    (scenario,) = (one for one in CORPUS if "savepoint" in one.name)
    assert len(await ends_of(servers, scenario, is_reduced=True)) > 1
