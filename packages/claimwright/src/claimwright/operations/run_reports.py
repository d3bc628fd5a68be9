"""Runs over many days: what one is asked for, and what it reports."""

from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from claimwright.domain.calendar import require_known_day
from claimwright.domain.errors import InvalidInputError
from claimwright.storage.unusable import UnusableRecord


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is asked for.

    Attributes:
        first: the first local date, in each policy's zone.
        last: the last local date, included.
        product_code: one product's policies alone; every version of it.
        region: one region's policies alone.
    """

    first: date
    last: date
    product_code: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        for day in (self.first, self.last):
            require_known_day(day)
        if self.first > self.last:
            raise InvalidInputError(f"the first day {self.first} lies after the last {self.last}")

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


class Failure(NamedTuple):
    """A request that is still to do, and why."""

    request_id: int
    work: str
    reason: str


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        days_evaluated: local days of groups whose index was evaluated.
        days_incomplete: of these, days that settle at their close and still miss readings.
        calculations: policies and dates of theirs that were calculated because of events.
        terms: policies whose whole term was calculated because they were stored or changed.
        chunks: transactions in which that was done.
        contended: of these, those that were put off because another worker was at them.
        claims: claims this run created.
        requests_finished: requests that are no longer pending.
        failures: requests that are still to do.
        unusable: policies and products that the rules cannot take; theirs are still to do too.
    """

    scope: Scope
    days_evaluated: int = 0
    days_incomplete: int = 0
    calculations: int = 0
    terms: int = 0
    chunks: int = 0
    contended: int = 0
    claims: int = 0
    requests_finished: int = 0
    failures: list[Failure] = field(default_factory=list)
    unusable: list[UnusableRecord] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything in scope was done."""
        return not (self.failures or self.unusable)
