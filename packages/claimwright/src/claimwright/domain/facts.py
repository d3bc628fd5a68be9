"""What the rules need to know of a policy, a risk event and a claim.

The rules take anything that has these attributes: a stored row, a value made for a test, a row of
an import. They read; they never write.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Protocol


class TermFacts(Protocol):
    """On which local days of its zone a policy pays, the first and last included."""

    @property
    def first_day(self) -> date: ...
    @property
    def last_day(self) -> date: ...
    @property
    def cancelled_on(self) -> date | None: ...


class PolicyFacts(TermFacts, Protocol):
    """A policy as the rules see it; amounts in minor units of its currency."""

    @property
    def id(self) -> int: ...
    @property
    def product_version_id(self) -> int: ...
    @property
    def coverage_region(self) -> str: ...
    @property
    def coverage_minor(self) -> int: ...
    @property
    def limit_minor(self) -> int: ...
    @property
    def zone(self) -> str: ...


class EventFacts(Protocol):
    """A risk event: region, UTC instant, tier; zone and date when it was made from readings."""

    @property
    def id(self) -> int: ...
    @property
    def product_version_id(self) -> int: ...
    @property
    def region(self) -> str: ...
    @property
    def triggered_at(self) -> datetime: ...
    @property
    def tier_level(self) -> str: ...
    @property
    def zone(self) -> str | None: ...


class ClaimFacts(Protocol):
    """A claim as the rules see it: a layer of one policy's benefit period."""

    @property
    def policy_id(self) -> int: ...
    @property
    def event_id(self) -> int: ...
    @property
    def event_date(self) -> date: ...
    @property
    def period_key(self) -> str: ...
    @property
    def tier_level(self) -> str: ...
    @property
    def attachment_minor(self) -> int: ...
    @property
    def exhaustion_minor(self) -> int: ...
    @property
    def payout_percentage(self) -> Decimal: ...
    @property
    def status(self) -> str: ...


def covers(policy: TermFacts, day: date) -> bool:
    """Whether a local date lies in the policy's term, before any cancellation."""
    if not policy.first_day <= day <= policy.last_day:
        return False
    return policy.cancelled_on is None or day < policy.cancelled_on


def concerns(event: EventFacts, policy: PolicyFacts) -> bool:
    """Whether an event belongs to the policy's terms, region and, made from readings, zone."""
    return (
        event.product_version_id == policy.product_version_id
        and event.region == policy.coverage_region
        and event.zone in (None, policy.zone)
    )
