"""Calculate the claims of one policy and one local date, exactly once."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from typing import Final, Protocol
from uuid import UUID, uuid4

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from claimwright.domain.errors import CalculationError, SessionInUseError
from claimwright.domain.facts import EventFacts, PolicyFacts
from claimwright.domain.layers import ClaimDraft
from claimwright.locks import Lease, LeaseOptions, lease, lease_key
from claimwright.metrics import CLAIMS_CREATED
from claimwright.operations.transactions import LEASED_RETRY_SECONDS, until_done
from claimwright.runtime import current_runtime, get_session
from claimwright.storage.cases import (
    Case,
    claims_of_calculation,
    insert_drafts,
    lock_policy,
    read_case,
)
from claimwright.storage.claims import Claim, Provenance
from claimwright.storage.database import Driver, driver_transaction
from claimwright.storage.policies import read_policy
from claimwright.storage.transients import DATABASE_ERRORS, sqlstate_of
from claimwright.tracing import span

__all__ = [
    "ENGINE_VERSION",
    "Case",
    "HasId",
    "PolicyCalculation",
    "calculate_claims",
    "process_policy_claims",
    "read_case",
    "run_claim_calculation_task",
    "settle",
]

ENGINE_VERSION: Final = version("claimwright")


class HasId(Protocol):
    """Anything that names a policy; everything else about it is read under the lock."""

    @property
    def id(self) -> int: ...  # noqa: D102 - the class says it


def settle(case: Case) -> list[ClaimDraft]:
    """What the rules make of a case."""
    return case.terms.calculator.calculate(case.events, case.policy, case.claims)


@dataclass(frozen=True, slots=True)
class PolicyCalculation:
    """Lease outside, transaction inside, key beneath, as parts that can be told apart.

    The parts are arguments so that a proof can take one away and see what the others hold.

    Attributes:
        take_lease: keeps other workers of the same policy and date from duplicate work.
        lock_policy: serialises every writer of a policy, whatever the date.
        read_case: plain reads, in statements after the lock.
        settle: the pure rules.
    """

    take_lease: Callable[[Redis, str, LeaseOptions], AbstractAsyncContextManager[Lease]] = lease
    lock_policy: Callable[[Driver, int], Awaitable[None]] = lock_policy
    read_case: Callable[[Driver, int, date], Awaitable[Case]] = read_case
    settle: Callable[[Case], list[ClaimDraft]] = settle

    async def run(
        self,
        database: AsyncSession | AsyncEngine,
        redis_client: Redis,
        policy_id: int,
        target_date: date,
        options: LeaseOptions,
    ) -> list[Claim]:
        """The claims this calculation created; see `process_policy_claims` for the rest.

        Args:
            database: the engine's own, which costs less, or a session.
            redis_client: takes the lease.
            policy_id: the policy's.
            target_date: a local date of its zone.
            options: how the lease is taken.
        """
        if isinstance(database, AsyncSession) and database.in_transaction():
            raise SessionInUseError("the session is already in a transaction; commit or pass none")
        task = _Task(policy_id, target_date, uuid4())
        with span("calculate policy", policy=policy_id, day=target_date) as tell:
            tell(calculation_id=task.id)
            async with self.take_lease(redis_client, lease_key(policy_id, target_date), options):
                claims = await self._until_done(database, task)
            tell(claims=len(claims))
        for claim in claims:
            CLAIMS_CREATED.labels(claim.tier_level).inc()
        return claims

    async def _until_done(self, database: AsyncSession | AsyncEngine, task: "_Task") -> list[Claim]:
        async def once(number: int) -> list[Claim]:
            return await self._once(database, task, is_again=number > 1)

        try:
            return await until_done(once, LEASED_RETRY_SECONDS)
        except DATABASE_ERRORS as error:
            raise CalculationError(
                f"policy {task.policy_id}, {task.target_date}: the database said "
                f"{sqlstate_of(error) or type(error).__name__}; {task.left_behind}"
            ) from error

    async def _once(
        self, database: AsyncSession | AsyncEngine, task: "_Task", *, is_again: bool
    ) -> list[Claim]:
        async with driver_transaction(database) as connection:
            await self.lock_policy(connection, task.policy_id)
            if is_again:
                # The reply to a COMMIT may have been lost: then its claims are there.
                stored = await claims_of_calculation(connection, task.policy_id, task.id)
                if stored:
                    return stored
                task.has_written = False
            case = await self.read_case(connection, task.policy_id, task.target_date)
            provenance = Provenance(task.id, case.terms.sha256, ENGINE_VERSION)
            claims = await insert_drafts(connection, self.settle(case), provenance)
            task.has_written = bool(claims)
        return claims


@dataclass(slots=True)
class _Task:
    """One calculation over all its tries.

    Attributes:
        has_written: whether the latest try has sent claims; its COMMIT may have come through.
    """

    policy_id: int
    target_date: date
    id: UUID
    has_written: bool = False

    @property
    def left_behind(self) -> str:
        """What is known of the database after the last try has failed."""
        if self.has_written:
            return f"calculation {self.id} may have been stored"
        return "nothing was stored"


async def process_policy_claims(
    session: AsyncSession | None = None,
    *,
    redis_client: Redis,
    policy: HasId,
    target_date: date,
    blocking_timeout: float = 10.0,
    require_lease: bool = False,
    calculation: PolicyCalculation | None = None,
) -> list[Claim]:
    """Calculate and store what one policy's events of one local date still add to its claims.

    Two workers, one policy, two dates of one month (the lease does not help: its key has the
    date)::

        worker A                         worker B
        lease …:2025-01-05
        BEGIN                            lease …:2025-01-20
        lock policy 7                    BEGIN
        read policy, events, claims      lock policy 7 … waits
        INSERT layer (0, 50 %]             |
        COMMIT  ------------------------>  has the lock
        release lease                    read policy, events, claims: sees (0, 50 %]
                                         50 % are paid: nothing to add
                                         COMMIT, release lease

    - The lease only saves duplicate work. It may be lost, or skipped when Redis is away.
    - The lock is a statement alone, and everything is read by later statements: a statement that
      waits for a lock still sees the state from before its wait.
    - The database itself refuses an overlapping layer, whoever writes it. That refusal is rolled
      back, read again and decided again, as is any transient error, a bounded number of times.
    - When the reply to COMMIT is lost, the next attempt finds the claims of this calculation.

    Args:
        session: one that is in no transaction; by default one of the default runtime's.
        redis_client: takes the lease ``lock:claim_calc:{policy.id}:{date}``.
        policy: whose id counts; everything else is read under the lock.
        target_date: a local date of the policy's zone.
        blocking_timeout: seconds to wait for a held lease, 0 for not at all.
        require_lease: whether to fail when Redis is away, instead of counting and going on.
        calculation: the parts to use; by default all of them.

    Returns:
        The claims this call created; an empty list when nothing was to add.

    Raises:
        LockNotAcquiredError: another worker held the lease all the time; nothing is lost by it.
        SessionInUseError: the session is already in a transaction.
        NotFoundError: there is no such policy.
        UnusableRecordError: the rules cannot take the policy or its terms.
        CalculationError: the database failed for good. Nothing was stored, or, when it failed
            in the COMMIT and stayed away, perhaps everything was; the message says which. Either
            way the calculation can be done again.
    """
    options = LeaseOptions(blocking_timeout_seconds=blocking_timeout, required=require_lease)
    parts = calculation or PolicyCalculation()
    database = current_runtime().engine if session is None else session
    return await parts.run(database, redis_client, policy.id, target_date, options)


async def run_claim_calculation_task(policy_id: int, target_date: str) -> int:
    """Calculate one policy and date on the default runtime; returns how many claims were created.

    Args:
        policy_id: the policy's id.
        target_date: ``YYYY-MM-DD``, local to the policy's zone.
    """
    runtime = current_runtime()
    claims = await PolicyCalculation().run(
        runtime.engine,
        runtime.redis,
        policy_id,
        date.fromisoformat(target_date),
        runtime.lease_options,
    )
    return len(claims)


async def calculate_claims(
    policy: PolicyFacts, events: Iterable[EventFacts], *, session: AsyncSession | None = None
) -> list[ClaimDraft]:
    """What these events alone are worth to a stored policy, by its terms; nothing is stored.

    Raises:
        NotFoundError: there is no such policy.
        UnusableRecordError: the rules cannot take the policy or its terms.
    """
    if session is not None:
        _, terms = await read_policy(await session.connection(), policy.id)
    else:
        async with get_session() as own_session:
            _, terms = await read_policy(await own_session.connection(), policy.id)
    return terms.calculator.calculate(events, policy, [])
