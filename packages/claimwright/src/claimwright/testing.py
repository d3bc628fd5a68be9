"""Factories and helpers for tests of code that extends the engine, on the real servers.

Policies and events made here belong together: a policy made without a region gets one of its
own, and an event made without one serves the policy made last. All of them have the product
``claimwright-testing``, whose tiers are those of `TIER_PAYOUTS`, in the zone UTC; events are of
2025-01-15 unless told otherwise.
"""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from secrets import randbelow
from typing import Any, Final, NoReturn

from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from claimwright.domain.errors import CalculationError
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind
from claimwright.domain.money import to_minor
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import TIER_PAYOUTS, PayoutSchedule
from claimwright.domain.terms import ProductTerms
from claimwright.operations.calculate import HasId, PolicyCalculation, process_policy_claims
from claimwright.runtime import close_current_runtime, current_runtime, get_session
from claimwright.storage.claims import Claim
from claimwright.storage.database import Driver
from claimwright.storage.policies import Policy
from claimwright.storage.products import add_version
from claimwright.storage.risk_events import RiskEvent

TEST_DATE: Final = date(2025, 1, 15)
_FIRST_PRODUCT_VERSION_ID: Final = 9_000_000
# Ids of their own, far from the sequences', so that a policy has one before it is stored; the
# random start keeps two test processes on one database apart.
_ids = count(10**12 + randbelow(10**15) * 1000)
_latest_region = ""


def terms_for_testing(
    frequency: str = "once_per_day", aggregate_limit_percent: Decimal | int = 100
) -> ProductTerms:
    """Rain of a local day in inches: 1, 2, 3 in pay 20, 50, 100 per cent of the cover."""
    return ProductTerms(
        code="claimwright-testing",
        peril="rain, for tests",
        index=IndexDefinition(
            variable="precipitation-for-testing",
            unit="in",
            kind=IndexKind.DAILY_SUM,
            plausible_minimum=Decimal(0),
            plausible_maximum=Decimal(20),
        ),
        comparison=Comparison.AT_LEAST,
        schedule=PayoutSchedule.from_rules(TIER_PAYOUTS),
        thresholds=(Decimal(1), Decimal(2), Decimal(3)),
        frequency=PayoutFrequency.parse(frequency),
        aggregate_limit_percent=Decimal(aggregate_limit_percent),
    )


@dataclass(frozen=True, slots=True)
class PolicyInTheMaking:
    """A policy that is not stored: the rules take it as it is, and ``await`` stores it."""

    id: int
    policy_number: str
    product_version_id: int
    coverage_region: str
    coverage_minor: int
    limit_minor: int
    currency: str
    zone: str
    first_day: date
    last_day: date
    cancelled_on: date | None
    terms: ProductTerms

    def __await__(self) -> Generator[Any, None, Policy]:
        return self._stored().__await__()

    async def persist(self, session: AsyncSession) -> Policy:
        """Store it with the session, which the caller commits."""
        version_id = await _product_version(await session.connection(), self.terms)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["terms"]
        policy = Policy(**{**values, "product_version_id": version_id})
        session.add(policy)
        await session.flush()
        await session.refresh(policy)
        return policy

    async def _stored(self) -> Policy:
        async with get_session() as session, session.begin():
            return await self.persist(session)


def create_test_policy(
    region: str | None = None,
    *,
    coverage_amount: str | int | Decimal = 100_000,
    currency: str = "USD",
    zone: str = "UTC",
    first_day: date = date(2025, 1, 1),
    last_day: date = date(2025, 12, 31),
    frequency: str = "once_per_day",
    aggregate_limit_percent: Decimal | int = 100,
) -> PolicyInTheMaking:
    """A policy for the rules; ``await`` it to store it and get the stored `Policy`."""
    global _latest_region  # noqa: PLW0603 - "the policy made last" is what the docstring promises
    terms = terms_for_testing(frequency, aggregate_limit_percent)
    number = next(_ids)
    _latest_region = region or f"region-{number}"
    coverage_minor = to_minor(coverage_amount, currency)
    return PolicyInTheMaking(
        id=number,
        policy_number=f"TEST-{number}",
        product_version_id=_version_id(terms),
        coverage_region=_latest_region,
        coverage_minor=coverage_minor,
        limit_minor=terms.limit_minor(coverage_minor),
        currency=currency,
        zone=zone,
        first_day=first_day,
        last_day=last_day,
        cancelled_on=None,
        terms=terms,
    )


async def create_and_persist_policy(session: AsyncSession, **details: Any) -> Policy:  # noqa: ANN401 - passed on
    """Store a new test policy with a session, which the caller commits."""
    return await create_test_policy(**details).persist(session)


def create_risk_event(
    tier: str = "tier1",
    hour: int = 12,
    *,
    day: date = TEST_DATE,
    region: str | None = None,
    frequency: str = "once_per_day",
    aggregate_limit_percent: Decimal | int = 100,
    id: int | None = None,  # noqa: A002 - the word the callers use
) -> RiskEvent:
    """An event for the rules, at that hour UTC; it is not stored."""
    return RiskEvent(
        id=next(_ids) if id is None else id,
        product_version_id=_version_id(terms_for_testing(frequency, aggregate_limit_percent)),
        region=region or _region_in_use(),
        triggered_at=datetime(day.year, day.month, day.day, hour, tzinfo=UTC),
        tier_level=tier,
    )


async def create_test_risk_event(
    target: AsyncSession | str | None = None,
    **details: Any,  # noqa: ANN401 - passed on to create_risk_event
) -> RiskEvent:
    """Store a new test event: with a session that the caller commits, or at once.

    Args:
        target: a session, or the region the event is for; by default the region of the test
            policy made last.
        details: as for `create_risk_event`.
    """
    if isinstance(target, AsyncSession):
        return await create_and_persist_event(target, **details)
    async with get_session() as session, session.begin():
        return await create_and_persist_event(session, **{"region": target, **details})


async def create_and_persist_event(session: AsyncSession, **details: Any) -> RiskEvent:  # noqa: ANN401 - passed on
    """Store a new test event with a session, which the caller commits.

    An event whose ``id`` is stored already is returned as it is.
    """
    if details.get("id") is not None and (known := await session.get(RiskEvent, details["id"])):
        return known
    terms = terms_for_testing(
        details.get("frequency", "once_per_day"), details.get("aggregate_limit_percent", 100)
    )
    event = create_risk_event(**details)
    event.product_version_id = await _product_version(await session.connection(), terms)
    session.add(event)
    await session.flush()
    await session.refresh(event)
    return event


async def process_policy_claims_with_error(
    *, redis_client: Redis, policy: HasId, target_date: date = TEST_DATE
) -> NoReturn:
    """`process_policy_claims` whose calculation fails after its lease was taken.

    Raises:
        CalculationError: always.
    """

    async def fail(_connection: Driver, policy_id: int) -> None:
        raise CalculationError(f"the calculation of policy {policy_id} fails on purpose")

    await process_policy_claims(
        redis_client=redis_client,
        policy=policy,
        target_date=target_date,
        calculation=PolicyCalculation(lock_policy=fail),
    )
    raise AssertionError("a calculation that fails on purpose does not return")


async def get_test_redis() -> Redis:
    """The default runtime's Redis client."""
    return current_runtime().redis


get_real_redis = get_test_redis


def get_claim_count(policy_id: int) -> int:
    """How many claims a policy has, for callers without an event loop."""

    async def count_and_close() -> int:
        try:
            return await count_claims(policy_id)
        finally:
            await close_current_runtime()

    return asyncio.run(count_and_close())


async def count_claims(policy_id: int) -> int:
    """How many claims a policy has, void ones too."""
    async with get_session() as session:
        query = select(func.count()).select_from(Claim).where(Claim.policy_id == policy_id)
        return int(await session.scalar(query) or 0)


def _region_in_use() -> str:
    return _latest_region or create_test_policy().coverage_region


def _version_id(terms: ProductTerms) -> int:
    """An id that follows from the terms, so that policies and events agree without a database."""
    return _FIRST_PRODUCT_VERSION_ID + int.from_bytes(terms.sha256[:4])


async def _product_version(connection: AsyncConnection, terms: ProductTerms) -> int:
    version_id, _, _ = await add_version(connection, terms, version_id=_version_id(terms))
    return version_id
