"""The demo from start to end: servers, weather, policies, the race, again, verify, report."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from claimwright.demo.expected import problems, rainy_days
from claimwright.demo.facts import DemoFacts, Run, Step
from claimwright.demo.gather import Found, gather
from claimwright.demo.inputs import (
    product_terms,
    weather_file,
    weather_mapping,
    write_policies,
)
from claimwright.demo.page import require_extra, write_report
from claimwright.demo.portfolio import CURRENCY, FIRST_DAY, LAST_DAY, ZONE, portfolio
from claimwright.demo.race import race, timed_run
from claimwright.domain.errors import InvalidInputError
from claimwright.embedded import ServerAddresses, embedded_servers, temporary_servers
from claimwright.files.tables import TableFormat
from claimwright.operations.add_product import add_product
from claimwright.operations.export_claims import export_claims
from claimwright.operations.import_policies import import_policies
from claimwright.operations.import_readings import import_readings
from claimwright.operations.run_reports import Scope
from claimwright.operations.verify import Verification, verify
from claimwright.runtime import Addresses, Runtime, open_runtime
from claimwright.settings import Settings
from claimwright.storage.listed_claims import ClaimsFilter
from claimwright.storage.schema import upgrade_now

#: Both products at the three stations.
FEWEST_POLICIES: Final = 6
MOST_POLICIES: Final = 100_000

Notify = Callable[[str, int, int | None], None]
"""Told of progress: what is being done, how much of it is, and how much there is."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo runs.

    Attributes:
        policies: at least `FEWEST_POLICIES`.
        workers: chunks under way at once, in each of the two racing processes.
        output: the folder that ``policies.csv``, ``claims.csv`` and ``report.html`` go to.
        folder: an empty or missing folder in which the servers' data stays afterwards; by
            default it is temporary.
    """

    policies: int
    workers: int
    output: Path
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not FEWEST_POLICIES <= self.policies <= MOST_POLICIES:
            raise InvalidInputError(
                f"the demo has {FEWEST_POLICIES} to {MOST_POLICIES:,} policies, "
                f"not {self.policies:,}"
            )
        if self.folder is not None and self.folder.exists() and any(self.folder.iterdir()):
            raise InvalidInputError(f"the demo needs a folder of its own; {self.folder} has files")


def run_demo(
    options: DemoOptions, *, notify: Notify, finished: Callable[[Step], None]
) -> DemoFacts:
    """Run the demo on servers of its own, which are stopped at the end, however it ends.

    It never looks at the servers the environment names.

    Args:
        options: how.
        notify: told of progress within a step.
        finished: told of each step at its end.

    Raises:
        InvalidInputError: the output folder cannot be made, or the extra ``demo`` is not
            installed.
        EmbeddedServerError: the servers do not start.
    """
    require_extra()
    weather = weather_file()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make {options.output}: {error.strerror}") from error
    demo = _Demo(options, weather, notify, finished)
    with ExitStack() as stack:
        with demo.step("Start PostgreSQL and Valkey"):
            addresses = stack.enter_context(_servers(options.folder))
            upgrade_now(addresses.owner_database_url)
        return asyncio.run(demo.complete(addresses))


def _servers(folder: Path | None) -> AbstractContextManager[ServerAddresses]:
    return temporary_servers() if folder is None else embedded_servers(folder)


@dataclass(slots=True)
class _Demo:
    options: DemoOptions
    weather: Path
    notify: Notify
    finished: Callable[[Step], None]
    steps: list[Step] = field(default_factory=list)

    async def complete(self, addresses: ServerAddresses) -> DemoFacts:
        settings = Settings(
            database_url=SecretStr(addresses.database_url),
            redis_url=SecretStr(addresses.redis_url),
            pool_size=self.options.workers + 2,
        )
        reached = Addresses(
            addresses.database_url,
            addresses.owner_database_url,
            addresses.redis_url,
            addresses.folder,
        )
        async with open_runtime(settings, reached) as runtime:
            return await self._complete(runtime)

    async def _complete(self, runtime: Runtime) -> DemoFacts:
        scope, workers = Scope(FIRST_DAY, LAST_DAY), self.options.workers
        readings = await self._import_weather(runtime)
        await self._import_policies(runtime)
        with self.step("Calculate the year in two processes at once"):
            runs = await race(runtime, scope, workers=workers, notify=self.notify)
        with self.step("Calculate the year again"):
            again = await timed_run(
                runtime, scope, workers=workers, notify=self.notify, everything=True
            )
        with self.step("Verify every claim against the readings"):
            verification = await verify(runtime, notify=self.notify)
        claims_file = self.options.output / "claims.csv"
        with self.step("Write claims.csv"):
            await export_claims(runtime, ClaimsFilter(), claims_file, TableFormat.CSV)
        with self.step("Write report.html"):
            found = await gather(runtime)
            facts = self._facts(found, readings, runs, again, verification)
            write_report(facts, found.stations, facts.report_file)
        return replace(facts, steps=tuple(self.steps))

    async def _import_weather(self, runtime: Runtime) -> int:
        with self.step("Import the weather"):
            for terms in product_terms():
                await add_product(runtime, terms)
            report = await import_readings(
                runtime,
                self.weather,
                weather_mapping(),
                quarantine=self.options.output / "weather.quarantine.csv",
                notify=lambda done, total, _rows: self.notify("Importing readings", done, total),
            )
        if report.refused:
            raise InvalidInputError(f"{report.refused} rows of {self.weather} were refused")
        return report.added

    async def _import_policies(self, runtime: Runtime) -> None:
        source = self.options.output / "policies.csv"
        with self.step(f"Import {self.options.policies:,} policies"):
            write_policies(portfolio(self.options.policies), source)
            report = await import_policies(runtime, source)
        if report.refused:
            raise InvalidInputError(f"{report.refused} policies were refused")

    def _facts(
        self,
        found: Found,
        readings: int,
        runs: tuple[Run, Run],
        again: Run,
        verification: Verification,
    ) -> DemoFacts:
        tiers = found.tiers
        facts = DemoFacts(
            policies=self.options.policies,
            workers=self.options.workers,
            currency=CURRENCY,
            zone=ZONE,
            readings=readings,
            events=sum(tier.events for tier in tiers),
            claims=sum(tier.claims for tier in tiers),
            paid_minor=sum(tier.paid_minor for tier in tiers),
            duplicates=sum(tier.duplicates for tier in tiers),
            limited=found.limited,
            tiers=tuple(tiers),
            rainy_days=tuple(rainy_days(found.stations)),
            quarantined=tuple(found.quarantined),
            race=runs,
            again=again,
            verification=verification,
            violations=tuple(found.violations),
            steps=tuple(self.steps),
            problems=(),
            claims_file=self.options.output / "claims.csv",
            report_file=self.options.output / "report.html",
            folder=self.options.folder,
        )
        return replace(facts, problems=tuple(problems(facts)))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; what fails is not told of."""
        self.notify(name, 0, None)
        started = time.perf_counter()
        yield
        step = Step(name, round(time.perf_counter() - started, 2))
        self.steps.append(step)
        self.finished(step)
