"""Check every claim against what is due by the readings, in one unchanging view of the database."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.domain.invariants import live_layers
from claimwright.domain.oracle import Difference, DifferenceKind, differences
from claimwright.domain.verification import (
    EventDifference,
    account_differences,
    record_differences,
)
from claimwright.operations.verify_weather import Weather, read_weather
from claimwright.runtime import Runtime
from claimwright.storage.accounts import accounts_of_policies
from claimwright.storage.claims import ClaimRecord, claim_records
from claimwright.storage.database import snapshot
from claimwright.storage.groups import (
    Group,
    groups_of_policies,
    policies_of_group,
    require_known,
    term_of_group,
)
from claimwright.storage.policies import PolicyRow
from claimwright.storage.requests import (
    PendingWork,
    pending_policies,
    pending_work,
)
from claimwright.storage.unusable import ROW_FAULTS, UnusableRecord, fault_of, find_unusable
from claimwright.storage.withdrawals import withdrawals_of_policies

POLICIES_AT_ONCE: Final = 500
_STATEMENT_MINUTES: Final = 30

Notify = Callable[[str, int, int], None]
"""Told of progress: the stage's name, how much is done, and how much there is."""


class Verdict(StrEnum):
    """What a verification says."""

    CLEAN = "clean"
    """Everything that is due is paid once, and nothing else."""
    PENDING = "pending"
    """Work is pending, and nothing is wrong that this work could not make good."""
    DIFFERENT = "different"
    """Something is paid that is not due, is missing though no pending work would pay it, or cannot
    be verified."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, with where it is.

    Attributes:
        region: `None`, as ``zone``, for a product that cannot be verified anywhere.
        day: of a difference between events and readings; policies have periods.
        due_minor: what is due (or the most that may be), in minor units; `None` for events and
            for what cannot be verified.
        pending: whether work that is pending for it could make it good.
    """

    kind: DifferenceKind
    product: str
    region: str | None
    zone: str | None
    policy_number: str | None
    period_key: str | None
    day: date | None
    due_minor: int | None
    paid_minor: int | None
    currency: str | None
    pending: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        snapshot_at: the one moment of the database that was looked at.
        policies: those that could be verified, as ``periods`` and ``claims`` are theirs.
        periods: benefit periods with live claims.
        claims: live claims.
        paid_minor: what they pay, in minor units by currency.
        differences: how many of each kind.
        findings: the first of them, as many as were asked for.
        pending: requests that are still to do.
    """

    verdict: Verdict
    snapshot_at: datetime
    policies: int
    periods: int
    claims: int
    paid_minor: Mapping[str, int]
    differences: Mapping[str, int]
    findings: Sequence[Finding]
    pending: PendingWork


async def verify(
    runtime: Runtime,
    *,
    product_code: str | None = None,
    region: str | None = None,
    most_findings: int = 20,
    policies_at_once: int = POLICIES_AT_ONCE,
    notify: Notify = lambda _stage, _done, _total: None,
) -> Verification:
    """Compare claims, events and accounts with what the readings make due, by the pure rules.

    Everything is read in one snapshot, so that work that goes on meanwhile is seen whole or not
    at all. Policies are read in pages: memory does not grow with their number.

    Args:
        runtime: the servers.
        product_code: one product's policies alone; every version of it.
        region: one region's policies alone.
        most_findings: how many differences are named; all of them are counted.
        policies_at_once: how many policies a page has.
        notify: told of progress.

    Raises:
        NotFoundError: the product or the region does not exist.
    """
    async with (
        runtime.sessions() as session,
        snapshot(session, statement_minutes=_STATEMENT_MINUTES) as connection,
    ):
        snapshot_at = (await connection.execute(text("SELECT now()"))).scalar_one()
        await require_known(connection, product_code=product_code, region=region)
        pending = await pending_work(connection, product_code=product_code, region=region)
        groups = await groups_of_policies(connection, product_code=product_code, region=region)
        unusable = await find_unusable(connection, product_code=product_code, region=region)
        tally = _Tally(most_findings, unusable.policy_ids)
        for record in unusable.records:
            tally.add_unusable(record)
        terms = [await term_of_group(connection, group.key) for group in groups]
        total = sum(count for count, _ in terms)
        for group, (_, term) in zip(groups, terms, strict=True):
            notify(f"Reading {group.key.region}", tally.policies, total)
            try:
                weather = await read_weather(connection, group, term)
            except ROW_FAULTS as error:
                tally.add_unverifiable(group, error)
                continue
            tally.add_events(weather)
            async for page in _pages(connection, weather, policies_at_once):
                for case in page:
                    tally.add_policy(weather, case)
                notify("Verifying policies", tally.policies, total)
    return tally.verification(snapshot_at, pending)


@dataclass(frozen=True, slots=True)
class _Case:
    """One policy with everything that is on record for it."""

    policy: PolicyRow
    claims: Sequence[ClaimRecord]
    withdrawn: frozenset[int]
    paid_minor: int | None
    exhaustion_minor: Mapping[str, int]
    pending: bool


@dataclass(slots=True)
class _Tally:
    most_findings: int
    unusable_policy_ids: frozenset[int]
    policies: int = 0
    periods: int = 0
    claims: int = 0
    paid_minor: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    lost: int = 0

    def add_policy(self, weather: Weather, case: _Case) -> None:
        """Hold a policy's claims against what is due; one that the rules cannot take is named."""
        if case.policy.id in self.unusable_policy_ids:
            return
        try:
            found = _policy_differences(weather, case)
        except ROW_FAULTS as error:
            self.add_unverifiable(weather.group, error, case.policy.policy_number)
            return
        self._count(case)
        for difference in found:
            self._add(_finding_of_policy(weather, case, difference))

    def _count(self, case: _Case) -> None:
        periods = live_layers(case.claims)
        self.policies += 1
        self.periods += len(periods)
        self.claims += sum(map(len, periods.values()))
        self.paid_minor[case.policy.currency] += sum(
            claim.exhaustion_minor - claim.attachment_minor
            for layers in periods.values()
            for claim in layers
        )

    def add_events(self, weather: Weather) -> None:
        for found in weather.differences:
            self._add(_finding_of_event(weather.group, found, pending=weather.pending))

    def add_unusable(self, record: UnusableRecord) -> None:
        is_policy = record.noun == "policy"
        self._add(
            _unverifiable(
                str(record),
                product=record.product,
                region=record.region,
                zone=record.zone,
                policy_number=record.name if is_policy else None,
            )
        )

    def add_unverifiable(
        self, group: Group, error: Exception, policy_number: str | None = None
    ) -> None:
        """A group, or one policy of it, with a row stored past the guards."""
        self._add(
            _unverifiable(
                f"cannot be verified: {fault_of(error)}",
                product=group.terms.code,
                region=group.key.region,
                zone=group.key.zone,
                policy_number=policy_number,
            )
        )

    def _add(self, finding: Finding) -> None:
        self.kinds[finding.kind] += 1
        self.lost += not finding.pending
        if len(self.findings) < self.most_findings:
            self.findings.append(finding)

    def verification(self, snapshot_at: datetime, pending: PendingWork) -> Verification:
        verdict = Verdict.PENDING if pending.requests else Verdict.CLEAN
        return Verification(
            verdict=Verdict.DIFFERENT if self.lost else verdict,
            snapshot_at=snapshot_at,
            policies=self.policies,
            periods=self.periods,
            claims=self.claims,
            paid_minor=dict(sorted(self.paid_minor.items())),
            differences=dict(self.kinds),
            findings=tuple(self.findings),
            pending=pending,
        )


async def _pages(
    connection: AsyncConnection, weather: Weather, policies_at_once: int
) -> AsyncIterator[list[_Case]]:
    """The group's policies in order of id, each with its claims, withdrawals and accounts."""
    async for policies in policies_of_group(connection, weather.group.key, page=policies_at_once):
        ids = [policy.id for policy in policies]
        claims: dict[int, list[ClaimRecord]] = defaultdict(list)
        for claim in await claim_records(connection, ids):
            claims[claim.policy_id].append(claim)
        withdrawn: dict[int, set[int]] = defaultdict(set)
        for withdrawal in await withdrawals_of_policies(connection, ids):
            withdrawn[withdrawal.policy_id].add(withdrawal.event_id)
        accounts = await accounts_of_policies(connection, ids)
        pending = await pending_policies(connection, ids)
        yield [
            _Case(
                policy=policy,
                claims=claims.get(policy.id, []),
                withdrawn=frozenset(withdrawn.get(policy.id, ())),
                paid_minor=accounts.paid_minor.get(policy.id),
                exhaustion_minor=accounts.exhaustion_minor.get(policy.id, {}),
                pending=policy.id in pending or weather.pending,
            )
            for policy in policies
        ]


def _policy_differences(weather: Weather, case: _Case) -> list[Difference]:
    terms = weather.group.terms
    paying = {
        claim.event_id: weather.events[claim.event_id]
        for claim in case.claims
        if claim.event_id in weather.events and claim.event_id not in case.withdrawn
    }
    evidence = weather.evidence(case.withdrawn)
    return [
        *differences(case.policy, terms.calculator, evidence, case.claims, paying),
        *record_differences(case.policy, terms, case.claims, weather.events),
        *account_differences(case.policy.id, case.claims, case.paid_minor, case.exhaustion_minor),
    ]


def _finding_of_policy(weather: Weather, case: _Case, found: Difference) -> Finding:
    group = weather.group
    return Finding(
        kind=found.kind,
        product=group.terms.code,
        region=group.key.region,
        zone=group.key.zone,
        policy_number=case.policy.policy_number,
        period_key=found.period_key,
        day=None,
        due_minor=found.due_minor,
        paid_minor=found.paid_minor,
        currency=case.policy.currency,
        pending=found.may_be_pending and case.pending,
        sentence=found.sentence,
    )


def _unverifiable(
    sentence: str,
    *,
    product: str,
    region: str | None,
    zone: str | None,
    policy_number: str | None,
) -> Finding:
    return Finding(
        kind=DifferenceKind.UNVERIFIABLE,
        product=product,
        region=region,
        zone=zone,
        policy_number=policy_number,
        period_key=None,
        day=None,
        due_minor=None,
        paid_minor=None,
        currency=None,
        pending=False,
        sentence=sentence,
    )


def _finding_of_event(group: Group, found: EventDifference, *, pending: bool) -> Finding:
    return Finding(
        kind=found.kind,
        product=group.terms.code,
        region=group.key.region,
        zone=group.key.zone,
        policy_number=None,
        period_key=None,
        day=found.day,
        due_minor=None,
        paid_minor=None,
        currency=None,
        pending=found.kind.may_be_pending and pending,
        sentence=found.sentence,
    )
