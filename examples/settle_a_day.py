"""A whole program: terms, one policy, a wet day in two halves, and what it pays.

Run it with ``python examples/settle_a_day.py``; it brings its own servers and leaves nothing.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from claimwright.domain.money import format_money, to_minor
from claimwright.domain.terms_text import terms_from_toml
from claimwright.embedded import ServerAddresses, temporary_servers
from claimwright.operations.add_product import add_product
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.run_reports import Scope
from claimwright.operations.transactions import transaction
from claimwright.operations.verify import verify
from claimwright.runtime import Addresses, Runtime, open_runtime
from claimwright.settings import Settings
from claimwright.storage.claims import get_claims_for_policy
from claimwright.storage.policies import NewPolicy, insert_policies
from claimwright.storage.readings import NewReading, insert_readings
from claimwright.storage.schema import upgrade_now

TERMS = Path(__file__).with_name("nyc-rain.toml")
DAY = date(2025, 6, 7)
MIDNIGHT = datetime(2025, 6, 7, 4, tzinfo=UTC)  # in New York


async def settle(runtime: Runtime) -> None:
    """Store a policy and its rain, settle the day, then settle it again after more rain."""
    product = await add_product(runtime, terms_from_toml(TERMS.read_text(encoding="utf-8")))
    policy = NewPolicy(
        policy_number="NY-1",
        product_version_id=product.id,
        coverage_region="LGA",
        coverage_minor=to_minor("10000.03", "USD"),
        currency="USD",
        zone="America/New_York",
        first_day=date(2025, 1, 1),
        last_day=date(2025, 12, 31),
    )
    async with transaction(runtime) as connection:
        policy_id = (await insert_policies(connection, [policy]))["NY-1"]
    for first_hour, rain in ((3, ["0.60", "0.55"]), (9, ["0.40", "0.70"])):
        await store_rain(runtime, first_hour, rain)
        report = await calculate_days(runtime, Scope(DAY, DAY))
        print(
            f"{report.claims} new claim(s) after {' + '.join(rain)} inches from hour {first_hour}"
        )
    async with runtime.sessions() as session:
        for claim in await get_claims_for_policy(session, policy_id):
            paid = format_money(claim.amount_minor, policy.currency)
            print(f"  {claim.period_key} {claim.tier_level}: +{claim.payout_percentage} % = {paid}")
    verification = await verify(runtime)
    print(f"verified against the readings: {verification.verdict}")


async def store_rain(runtime: Runtime, first_hour: int, inches: list[str]) -> None:
    """Store one reading an hour from that hour of the local day on."""
    readings = [
        NewReading("LGA", "precipitation", MIDNIGHT + timedelta(hours=hour), Decimal(text))
        for hour, text in enumerate(inches, start=first_hour)
    ]
    async with transaction(runtime) as connection:
        await insert_readings(connection, readings, source="example")


async def main(servers: ServerAddresses) -> None:
    """Open a runtime on the servers, settle, and close it."""
    addresses = Addresses(
        servers.database_url, servers.owner_database_url, servers.redis_url, servers.folder
    )
    async with open_runtime(Settings(), addresses) as runtime:
        await settle(runtime)


if __name__ == "__main__":
    with temporary_servers() as running:
        upgrade_now(running.owner_database_url)
        asyncio.run(main(running))
