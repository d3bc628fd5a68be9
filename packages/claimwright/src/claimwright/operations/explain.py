"""Explain a claim, or why a policy's day or period pays what it pays."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import days_between, local_date
from claimwright.domain.errors import InvalidInputError, NotFoundError
from claimwright.domain.explanation import explain_claim, explain_period
from claimwright.domain.explanation_facts import Explanation, PolicyFile
from claimwright.domain.periods import PayoutFrequency, period_key
from claimwright.domain.references import claim_reference
from claimwright.domain.terms import ProductTerms
from claimwright.domain.triggers import DayEvaluation, DayEvaluator
from claimwright.runtime import Runtime
from claimwright.storage.claims import claim_records
from claimwright.storage.database import snapshot
from claimwright.storage.evidence import readings_by_id, restated_values
from claimwright.storage.groups import Group
from claimwright.storage.policies import PolicyRow, find_policy_id, read_policy
from claimwright.storage.products import version_number
from claimwright.storage.readings import readings_between
from claimwright.storage.requests import group_is_pending, pending_policies
from claimwright.storage.risk_events import EventRecord, IndexGroup, event_records
from claimwright.storage.withdrawals import withdrawals_of_policies

_ONE_DAY: Final = timedelta(days=1)
_STATEMENT_MINUTES: Final = 5


async def explain_one_claim(runtime: Runtime, policy_id: int, claim_id: int) -> Explanation:
    """Why a claim pays its amount, from the readings as they were known then.

    Raises:
        NotFoundError: there is no such policy or claim.
        UnusableRecordError: the rules cannot take the policy or its terms.
    """
    async with (
        runtime.sessions() as session,
        snapshot(session, statement_minutes=_STATEMENT_MINUTES) as connection,
    ):
        policy, terms = await read_policy(connection, policy_id)
        claims = await claim_records(connection, [policy_id])
        claim = next((claim for claim in claims if claim.id == claim_id), None)
        if claim is None:
            raise NotFoundError("claim", claim_reference(policy_id, claim_id))
        file = await _read_file(connection, policy, terms, claim.event_date)
        return explain_claim(file, claim_id)


async def explain_policy(
    runtime: Runtime, policy_number: str, *, day: date | None = None, period: str | None = None
) -> Explanation:
    """Why a policy's local day, or a benefit period, pays what it pays, and nothing more.

    Args:
        runtime: the servers.
        policy_number: whose.
        day: a local date of the policy's zone; its whole benefit period is looked at.
        period: a benefit period's key, as ``2025-06-07``, ``2025-06`` or ``term``.

    Raises:
        NotFoundError: there is no such policy.
        UnusableRecordError: the rules cannot take the policy or its terms.
        InvalidInputError: not one of a day and a period, or no period of the policy's terms.
    """
    if (day is None) == (period is None):
        raise InvalidInputError("name a day or a period, one of them")
    async with (
        runtime.sessions() as session,
        snapshot(session, statement_minutes=_STATEMENT_MINUTES) as connection,
    ):
        policy, terms = await read_policy(
            connection, await find_policy_id(connection, policy_number)
        )
        days = [day] if day else _days_of_period(policy, terms, str(period))
        file = await _read_file(connection, policy, terms, days[0])
        return explain_period(file, days)


def _days_of_period(policy: PolicyRow, terms: ProductTerms, key: str) -> list[date]:
    """Every date of a benefit period; those of the term are the days that the policy covers."""
    first, last = policy.first_day, policy.last_day
    if terms.frequency is not PayoutFrequency.ONCE_PER_POLICY:
        try:
            first = date.fromisoformat(key if len(key) > len("2025-01") else f"{key}-01")
        except ValueError:
            raise _no_such_period(terms, key) from None
        last = first
        if terms.frequency is PayoutFrequency.ONCE_PER_MONTH:
            last = first.replace(day=monthrange(first.year, first.month)[1])
    if period_key(terms.frequency, first) != key:
        raise _no_such_period(terms, key)
    return days_between(first, last)


def _no_such_period(terms: ProductTerms, key: str) -> InvalidInputError:
    pays = terms.frequency.value.replace("_", " ")
    return InvalidInputError(f"{key!r} is not a benefit period of {terms.code}, which pays {pays}")


async def _read_file(
    connection: AsyncConnection, policy: PolicyRow, terms: ProductTerms, day: date
) -> PolicyFile:
    """Everything that is known about the benefit period of a local date."""
    key = period_key(terms.frequency, day)
    days = sorted({day, *_days_of_period(policy, terms, key)})
    group = Group(IndexGroup(policy.product_version_id, policy.coverage_region, policy.zone), terms)
    claims = await claim_records(connection, [policy.id])
    events = await _events(connection, policy, terms, days)
    ids = [id_ for event in events for id_ in event.reading_ids]
    evaluations = await _evaluations(connection, group, days)
    ids += [point.reading.id for found in evaluations.values() for point in found.points]
    pending = await group_is_pending(connection, group.key, terms.index.variable)
    return PolicyFile(
        policy=policy,
        terms=terms,
        product_version=await version_number(connection, policy.product_version_id),
        period_key=key,
        claims=claims,
        events=events,
        withdrawals=await withdrawals_of_policies(connection, [policy.id]),
        days=evaluations,
        evidence=await readings_by_id(connection, ids),
        restated=await restated_values(connection, ids),
        pending=pending or bool(await pending_policies(connection, [policy.id])),
    )


async def _events(
    connection: AsyncConnection, policy: PolicyRow, terms: ProductTerms, days: Sequence[date]
) -> list[EventRecord]:
    """Events of these local dates, those of other zones among them."""
    events = await event_records(
        connection,
        policy.product_version_id,
        policy.coverage_region,
        datetime.combine(days[0], time(), UTC) - 2 * _ONE_DAY,
        datetime.combine(days[-1], time(), UTC) + 3 * _ONE_DAY,
    )
    wanted = set(days)
    return [
        event
        for event in events
        if local_date(event.triggered_at, policy.zone, terms.day_boundary) in wanted
        or event.local_date in wanted
    ]


async def _evaluations(
    connection: AsyncConnection, group: Group, days: Sequence[date]
) -> dict[date, DayEvaluation]:
    """What all readings known now say of those dates that have any, settled before or not."""
    zone, terms = group.key.zone, group.terms
    readings = await readings_between(
        connection,
        group.key.region,
        terms.index.variable,
        datetime.combine(days[0], time(), UTC) - 2 * _ONE_DAY - terms.index.window,
        datetime.combine(days[-1], time(), UTC) + 3 * _ONE_DAY,
    )
    dates = {local_date(reading.observed_at, zone, terms.day_boundary) for reading in readings}
    evaluator = DayEvaluator(terms, zone, readings)
    return {day: evaluator.evaluate(day) for day in days if day in dates}
