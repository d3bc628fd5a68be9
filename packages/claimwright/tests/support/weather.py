"""A small insured world with weather: stored by the engine's own functions, through a runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from claimwright.domain.terms import ProductTerms
from claimwright.operations.calculate_days import calculate_days, whole_scope
from claimwright.operations.run_reports import RunReport
from claimwright.runtime import Runtime
from claimwright.storage.claims import Claim, get_claims_for_policy
from claimwright.storage.database import own_transaction
from claimwright.storage.policies import NewPolicy, insert_policies
from claimwright.storage.products import add_version
from claimwright.storage.readings import NewReading, insert_readings
from claimwright.testing import terms_for_testing

ZONE = "America/New_York"
#: Noon in UTC is a morning hour of the same date in New York, whatever the season.
_NOON = 12


@dataclass(slots=True)
class World:
    """Policies of one product on one region, whose rain is given as values from noon UTC on.

    The rain is in inches of a local day: 1, 2 and 3 pay 20, 50 and 100 per cent.
    """

    runtime: Runtime
    terms: ProductTerms = field(default_factory=terms_for_testing)
    region: str = "JFK"
    zone: str = ZONE
    ids: dict[str, int] = field(default_factory=dict)

    async def insure(
        self, covers_minor: Mapping[str, int], first: date | None = None, last: date | None = None
    ) -> None:
        """Store policies by number, for 2025 unless told otherwise."""
        async with self.runtime.sessions() as session, own_transaction(session) as connection:
            version_id, _, _ = await add_version(connection, self.terms)
            self.ids |= await insert_policies(
                connection,
                [
                    NewPolicy(
                        policy_number=number,
                        product_version_id=version_id,
                        coverage_region=self.region,
                        coverage_minor=cover_minor,
                        currency="USD",
                        zone=self.zone,
                        first_day=first or date(2025, 1, 1),
                        last_day=last or date(2025, 12, 31),
                    )
                    for number, cover_minor in covers_minor.items()
                ],
            )

    async def rain(self, day: date, values: Sequence[str], from_hour: int = _NOON) -> None:
        """Store hourly readings of a date, the first at noon UTC."""
        start = datetime(day.year, day.month, day.day, from_hour, tzinfo=UTC)
        readings = [
            NewReading(
                self.region,
                self.terms.index.variable,
                start + timedelta(hours=number),
                Decimal(value),
            )
            for number, value in enumerate(values)
        ]
        async with self.runtime.sessions() as session, own_transaction(session) as connection:
            await insert_readings(connection, readings, "a test")

    async def calculate(self) -> RunReport:
        """Bring everything up to date."""
        scope = await whole_scope(self.runtime)
        assert scope is not None
        report = await calculate_days(self.runtime, scope, workers=4)
        assert not report.failures
        return report

    async def claims(self, number: str) -> list[Claim]:
        """Every claim of a policy, void ones too."""
        async with self.runtime.sessions() as session:
            return await get_claims_for_policy(session, self.ids[number])

    async def paid_minor(self, number: str) -> int:
        """What the policy's live claims add up to."""
        return sum(c.amount_minor for c in await self.claims(number) if c.status != "void")
