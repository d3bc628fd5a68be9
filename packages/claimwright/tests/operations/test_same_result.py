"""Many policies at once get, row for row, what each would get alone.

Two worlds with the same policies go through the same steps: events of any tier at any time, some
of them late, voids, and calculations of some policies for some days. In one world each policy and
day is calculated by itself, in the other by the path that the step says. After each calculation
their claims are the same. In the end both are drained, and the oracle finds nothing.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claimwright.domain.calendar import days_between
from claimwright.domain.terms import ProductTerms
from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.calculate_days import calculate_days
from claimwright.operations.run_reports import Scope
from claimwright.operations.settle_policies import Members, settle_policies
from claimwright.operations.transactions import retried_by_driver, transaction
from claimwright.operations.verify import Verdict, verify
from claimwright.operations.void import VoidRequest, void_claim
from claimwright.runtime import Runtime
from claimwright.storage.claims import get_claims_for_policy
from claimwright.storage.database import Driver
from claimwright.storage.groups import Group
from claimwright.storage.policies import NewPolicy, insert_policies
from claimwright.storage.products import add_version
from claimwright.storage.risk_events import IndexGroup, RiskEvent
from claimwright.storage.standings import lock_many
from claimwright.testing import terms_for_testing

FIRST, LAST = date(2025, 1, 28), date(2025, 2, 3)
MIDNIGHT = datetime(2025, 1, 28, tzinfo=UTC)
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
_numbers = count(1)


class Insured(NamedTuple):
    cover_minor: int
    zone: str
    first: date
    last: date


class Happened(NamedTuple):
    """An event, so many hours after the first midnight in UTC."""

    tier: str
    hour: int


class Voided(NamedTuple):
    """The live claim in that place of that policy, if there is one."""

    policy: int
    place: int


class Calculated(NamedTuple):
    """Some policies, by their places, for the days from one to another."""

    policies: frozenset[int]
    first: date
    last: date
    at_once: bool


class History(NamedTuple):
    terms: ProductTerms
    policies: list[Insured]
    steps: list[Happened | Voided | Calculated]


@st.composite
def histories(draw: st.DrawFn) -> History:
    days = st.sampled_from(days_between(FIRST, LAST))
    terms = terms_for_testing(
        draw(st.sampled_from(["once_per_day", "once_per_month", "once_per_policy"])),
        draw(st.sampled_from([35, 100, 130])),
    )
    policy = st.builds(
        lambda cover_minor, zone, one, two: Insured(
            cover_minor, zone, min(one, two), max(one, two)
        ),
        st.sampled_from([1, 7, 10_003, 10_003, 99_999]),
        st.sampled_from(ZONES),
        st.sampled_from([FIRST, FIRST, date(2025, 1, 31)]),
        st.sampled_from([LAST, LAST, date(2025, 2, 1)]),
    )
    policies = draw(st.lists(policy, min_size=1, max_size=5))
    places = st.integers(0, len(policies) - 1)
    happened = st.builds(
        Happened, st.sampled_from(["tier1", "tier2", "tier3"]), st.integers(0, 7 * 24 - 1)
    )
    calculated = st.builds(
        lambda some, one, two, at_once: Calculated(some, min(one, two), max(one, two), at_once),
        st.frozensets(places, min_size=1),
        days,
        days,
        st.booleans(),
    )
    voided = st.builds(Voided, places, st.integers(0, 3))
    steps = st.lists(
        st.one_of(happened, happened, calculated, calculated, voided), min_size=4, max_size=14
    )
    return History(terms, policies, [draw(happened), *draw(steps)])


class SmallWorld:
    """The policies of a history, in a region of their own."""

    def __init__(self, runtime: Runtime, history: History) -> None:
        self.runtime = runtime
        self.history = history
        self.region = f"region-{next(_numbers)}"
        self.version = 0
        self.ids: list[int] = []
        self.events: list[int] = []

    async def store(self) -> None:
        async with transaction(self.runtime) as connection:
            self.version, _, _ = await add_version(connection, self.history.terms)
            for place, insured in enumerate(self.history.policies):
                policy = NewPolicy(
                    f"{self.region}-{place}",
                    self.version,
                    self.region,
                    insured.cover_minor,
                    "USD",
                    insured.zone,
                    insured.first,
                    insured.last,
                )
                self.ids += (await insert_policies(connection, [policy])).values()

    async def take(self, step: Happened | Voided | Calculated, *, at_once: bool) -> None:
        if isinstance(step, Happened):
            await self._happen(step)
        elif isinstance(step, Voided):
            await self._void(step)
        elif at_once:
            await retried_by_driver(self.runtime, partial(self._settle, step))
        else:
            await self._one_by_one(step)

    async def _happen(self, step: Happened) -> None:
        async with self.runtime.sessions() as session, session.begin():
            event = RiskEvent(
                product_version_id=self.version,
                region=self.region,
                triggered_at=MIDNIGHT + timedelta(hours=step.hour),
                tier_level=step.tier,
            )
            session.add(event)
            await session.flush()
            self.events.append(event.id)

    async def _void(self, step: Voided) -> None:
        async with self.runtime.sessions() as session:
            claims = await get_claims_for_policy(session, self.ids[step.policy])
            await session.commit()
            live = [claim for claim in claims if claim.status != "void"]
            if step.place < len(live):
                claim = live[step.place]
                await void_claim(session, VoidRequest(claim.policy_id, claim.id, "why", "who"))

    async def _one_by_one(self, step: Calculated) -> None:
        for place in sorted(step.policies):
            for day in days_between(step.first, step.last):
                await PolicyCalculation().run(
                    self.runtime.engine,
                    self.runtime.redis,
                    self.ids[place],
                    day,
                    self.runtime.lease_options,
                )

    async def _settle(self, step: Calculated, connection: Driver) -> None:
        by_zone: dict[str, list[int]] = {}
        for place in sorted(step.policies):
            by_zone.setdefault(self.history.policies[place].zone, []).append(self.ids[place])
        members = [
            Members(Group(IndexGroup(self.version, self.region, zone), self.history.terms), ids)
            for zone, ids in by_zone.items()
        ]
        await lock_many(connection, [self.ids[place] for place in step.policies])
        await settle_policies(connection, members, (step.first, step.last), uuid4())

    async def claims(self) -> list[list[Sequence[object]]]:
        """Of each policy, its claims in the order they were stored, but for ids and stamps."""
        async with self.runtime.sessions() as session:
            return [
                [
                    (
                        self.events.index(claim.event_id),
                        claim.event_date,
                        claim.period_key,
                        claim.tier_level,
                        claim.attachment_minor,
                        claim.exhaustion_minor,
                        claim.payout_percentage,
                        claim.status,
                        claim.terms_sha256,
                        claim.engine_version,
                    )
                    for claim in await get_claims_for_policy(session, policy_id)
                ]
                for policy_id in self.ids
            ]


async def go_through(runtime: Runtime, history: History) -> None:
    alone, mixed = SmallWorld(runtime, history), SmallWorld(runtime, history)
    await alone.store()
    await mixed.store()
    for step in history.steps:
        await alone.take(step, at_once=False)
        await mixed.take(step, at_once=isinstance(step, Calculated) and step.at_once)
        if isinstance(step, Calculated):
            assert await mixed.claims() == await alone.claims()
    await calculate_days(runtime, Scope(date(2025, 1, 1), date(2025, 12, 31)))
    for world in (alone, mixed):
        assert (await verify(runtime, region=world.region)).verdict is Verdict.CLEAN


EVERYTHING = Calculated(frozenset({0, 1}), FIRST, LAST, at_once=True)
#: Topped up in three steps, cut by the limit, with a void between: found first by chance.
TOPPED_UP = History(
    terms_for_testing("once_per_month", 130),
    [Insured(10_003, "UTC", FIRST, LAST), Insured(7, "America/New_York", FIRST, LAST)],
    [
        Happened("tier1", 12),
        EVERYTHING,
        Happened("tier2", 20),
        EVERYTHING,
        Voided(0, 1),
        Happened("tier3", 6),
        EVERYTHING,
        Happened("tier3", 130),
        EVERYTHING,
    ],
)


#: Whoever forgets that an event was withdrawn pays it again.
WITHDRAWN = History(
    terms_for_testing("once_per_month", 100),
    [Insured(10_003, "UTC", FIRST, LAST), Insured(7, "America/New_York", FIRST, LAST)],
    [Happened("tier2", 12), EVERYTHING, Voided(0, 0), Happened("tier1", 36), EVERYTHING],
)


@example(history=TOPPED_UP)
@example(history=WITHDRAWN)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories())
async def test_many_at_once_get_row_for_row_what_each_gets_alone(
    runtime: Runtime, history: History
) -> None:
    await go_through(runtime, history)


@pytest.mark.prove
@pytest.mark.timeout(1_200)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories())
async def test_many_at_once_get_row_for_row_what_each_gets_alone_in_many_histories(
    runtime: Runtime, history: History
) -> None:
    await go_through(runtime, history)
