"""A portfolio in the engine's tables and the same one in the reference's, on throw-away servers."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from _reference import SCHEMA, Base
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateSchema

from claimwright.operations.transactions import transaction
from claimwright.runtime import Addresses, Runtime, reach_servers
from claimwright.settings import Settings
from claimwright.storage.products import add_version
from claimwright.testing import terms_for_testing

DAY: Final = date(2025, 1, 15)
_POLICIES: Final = text(
    """
    INSERT INTO policies (id, policy_number, product_version_id, coverage_region, coverage_minor,
                          limit_minor, currency, zone, first_day, last_day)
    SELECT n, 'P-' || n, :version, 'region-' || n % :regions, 100 * (1000 + n % :covers),
           100 * (1000 + n % :covers), 'USD', 'UTC', '2025-01-01', '2025-12-31'
    FROM generate_series(CAST(:first AS bigint), :last) n
    """
)
_EVENTS: Final = text(
    """
    INSERT INTO risk_events (product_version_id, region, triggered_at, tier_level)
    SELECT :version, 'region-' || n, CAST(:triggered_at AS timestamptz), :tier
    FROM generate_series(CAST(0 AS int), :regions - 1) n
    """
)
_COPIES: Final = (
    f"""
    INSERT INTO {SCHEMA}.policies SELECT id, coverage_region, coverage_minor / 100.0 FROM policies
    """,
    f"""
    INSERT INTO {SCHEMA}.risk_events SELECT id, region, triggered_at, tier_level FROM risk_events
    """,
    f"GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO PUBLIC",
    f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO PUBLIC",
    f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC",
    "ANALYZE policies, risk_events",
    f"ANALYZE {SCHEMA}.policies, {SCHEMA}.risk_events",
)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """How large a portfolio is; every region has two events on `DAY`, of tiers 1 and 2.

    Attributes:
        covers: how many different sums insured there are.
    """

    policies: int
    regions: int
    covers: int = 10_000


@contextmanager
def servers() -> Iterator[tuple[Settings, Addresses]]:
    """Real servers with their default settings, so fsync is on; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = Settings(data_folder=Path(folder) / "data")
        with ExitStack() as stack:
            yield settings, reach_servers(settings, stack)


async def store(runtime: Runtime, portfolio: Portfolio) -> None:
    """Store the portfolio in the engine's tables and in the reference's."""
    regions = portfolio.regions
    async with transaction(runtime) as connection:
        version, _, _ = await add_version(connection, terms_for_testing())
        for first in range(1, portfolio.policies + 1, 20_000):
            last = min(first + 19_999, portfolio.policies)
            values = {"version": version, "regions": regions, "covers": portfolio.covers}
            await connection.execute(_POLICIES, {**values, "first": first, "last": last})
        for tier, hour in (("tier1", 9), ("tier2", 15)):
            at = datetime(DAY.year, DAY.month, DAY.day, hour, tzinfo=UTC)
            of_tier = {"version": version, "regions": regions, "tier": tier, "triggered_at": at}
            await connection.execute(_EVENTS, of_tier)
    engine = create_async_engine(runtime.addresses.owner_database_url)
    async with engine.begin() as connection:
        await connection.execute(CreateSchema(SCHEMA))
        await connection.run_sync(Base.metadata.create_all)
        for statement in _COPIES:
            await connection.execute(text(statement))
    await engine.dispose()
