"""Which requests a run's scope covers: of which days, products and regions their work is."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.calendar import local_date
from claimwright.operations.evaluate import days_touched
from claimwright.operations.run_reports import Scope
from claimwright.storage.groups import (
    Group,
    HeldGroup,
    PolicyTerm,
    direct_event_instants,
    held_groups,
    known_instants,
    terms_of_policies,
    versions_of_product,
)
from claimwright.storage.requests import PendingRequest
from claimwright.storage.risk_events import IndexGroup

_ONE_DAY: Final = timedelta(days=1)


class RequestsInScope(NamedTuple):
    """What a scope is compared with, read once a round.

    Attributes:
        groups: in which policies are held, those that the rules can take.
        versions: the product's, where the scope names one.
        known: the first and last instant of any reading or event.
    """

    scope: Scope
    groups: dict[IndexGroup, Group]
    versions: frozenset[int] | None
    known: tuple[datetime, datetime] | None

    def evaluations(self, requests: Iterable[PendingRequest]) -> list[PendingRequest]:
        """Those whose readings touch a local day in scope, of any product."""
        by_readings: dict[tuple[str, str], list[Group]] = {}
        for group in self.groups.values():
            by_readings.setdefault((group.key.region, group.variable), []).append(group)
        return [
            request
            for request in requests
            if self.scope.region in (None, request.region)
            and self._touches(request, by_readings.get((str(request.region), str(request.subject))))
        ]

    def _touches(self, request: PendingRequest, groups: Sequence[Group] | None) -> bool:
        day = _day_of(request)
        spans = [days_touched(group, day) for group in groups or ()]
        return any(
            self._overlaps(first, last)
            for first, last in spans or [(day - _ONE_DAY, day + _ONE_DAY)]
        )

    async def calculations(
        self, connection: AsyncConnection, requests: Iterable[PendingRequest]
    ) -> list[PendingRequest]:
        """Those with an event on a local date in scope, in a zone in which policies are held."""
        found = []
        for request in requests:
            named = self.scope.region in (None, request.region) and (
                self.versions is None or request.product_version_id in self.versions
            )
            if named and await self._has_event(connection, request):
                found.append(request)
        return found

    async def _has_event(self, connection: AsyncConnection, request: PendingRequest) -> bool:
        day = _day_of(request)
        if request.subject is not None:
            return day in self.scope
        if not self._overlaps(day - _ONE_DAY, day + _ONE_DAY):
            return False
        groups = [group for group in self.groups.values() if request.may_pay(group.key)]
        starts_at = datetime.combine(day, time(), UTC)
        instants = await direct_event_instants(
            connection,
            int(request.product_version_id or 0),
            str(request.region),
            (starts_at, starts_at + _ONE_DAY),
        )
        return not groups or any(
            _date_of(instant, group) in self.scope for instant in instants for group in groups
        )

    async def policies(
        self, connection: AsyncConnection, requests: Sequence[PendingRequest]
    ) -> tuple[list[PendingRequest], list[PendingRequest]]:
        """Those whose every day that can have an event lies in scope, and those of which some do.

        Of policies of the product and region in scope, in order of their group and id.
        """
        by_policy = {request.policy_id: request for request in requests}
        whole, partly = [], []
        known: dict[IndexGroup, list[date]] = {}
        for term in await terms_of_policies(connection, [one for one in by_policy if one]):
            if self.scope.region not in (None, term.group.region):
                continue
            if self.versions is not None and term.group.product_version_id not in self.versions:
                continue
            group = self.groups.get(term.group)
            if group is not None and term.group not in known:
                known[term.group] = [_date_of(instant, group) for instant in self.known or ()]
            if self._covers_all_of(term, known.get(term.group)):
                whole.append(by_policy[term.policy_id])
            elif self._overlaps(term.first_day, term.last_day):
                partly.append(by_policy[term.policy_id])
        return whole, partly

    def _covers_all_of(self, term: PolicyTerm, known: Sequence[date] | None) -> bool:
        if not known:
            return True
        first, last = max(term.first_day, known[0]), min(term.last_day, known[-1])
        return first > last or (first in self.scope and last in self.scope)

    def _overlaps(self, first: date, last: date) -> bool:
        return first <= self.scope.last and self.scope.first <= last


async def requests_in_scope(connection: AsyncConnection, scope: Scope) -> RequestsInScope:
    """What a scope is compared with, as it is now."""
    held = await held_groups(connection)
    versions = (
        None
        if scope.product_code is None
        else await versions_of_product(connection, scope.product_code)
    )
    groups = {one.key: one.usable() for one in held if one.fault is None}
    return RequestsInScope(scope, groups, versions, await known_instants(connection))


def groups_in_scope(held: Iterable[HeldGroup], scope: Scope) -> list[Group]:
    """The groups of the product and region in scope that the rules can take."""
    return [
        one.usable()
        for one in held
        if one.fault is None
        and scope.product_code in (None, one.product)
        and scope.region in (None, one.key.region)
    ]


def _date_of(instant: datetime, group: Group) -> date:
    return local_date(instant, group.key.zone, group.terms.day_boundary)


def _day_of(request: PendingRequest) -> date:
    assert request.day is not None  # noqa: S101 - what readings and events ask for has a day
    return request.day
