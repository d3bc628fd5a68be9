"""Make a claim void: its event no longer pays its policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from claimwright.domain.errors import (
    CalculationError,
    InvalidInputError,
    InvalidTransitionError,
    NotFoundError,
)
from claimwright.domain.lifecycle import ClaimStatus, is_live
from claimwright.domain.references import claim_reference
from claimwright.operations.transactions import LEASED_RETRY_SECONDS, until_done
from claimwright.storage.claims import ClaimRow, claims_of_policy, void_claims
from claimwright.storage.database import own_transaction
from claimwright.storage.policies import lock_policies
from claimwright.storage.transients import sqlstate_of
from claimwright.storage.withdrawals import insert_withdrawal, withdrawals_of_policies

_LONGEST_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True)
class VoidRequest:
    """Which claim becomes void, why, and who says so."""

    policy_id: int
    claim_id: int
    reason: str
    actor: str

    def __post_init__(self) -> None:
        for name in ("reason", "actor"):
            words = getattr(self, name)
            if not words.strip() or len(words) > _LONGEST_TEXT:
                raise InvalidInputError(f"the {name} is 1 to {_LONGEST_TEXT} characters")

    @property
    def reference(self) -> str:
        """The claim's name for people."""
        return claim_reference(self.policy_id, self.claim_id)


@dataclass(frozen=True, slots=True)
class Voided:
    """What became void.

    Attributes:
        claim: the claim that was named.
        withdrawn_event_id: the event that no longer pays the policy.
        layers: what became void, the top first; the layers that only lay on top come back with
            the next calculation, from their own events.
        amount_minor: what all of them paid.
    """

    claim: str
    withdrawn_event_id: int
    layers: tuple[str, ...]
    amount_minor: int


async def void_claim(session: AsyncSession, request: VoidRequest) -> Voided:
    """Make a claim void, with every layer above it, and withdraw its event from its policy.

    One transaction under the policy's row lock. Several layers can be of one event, where the
    aggregate limit had cut it and it was topped up later: then all of them go. The database
    asks for the policy's calculation in the same transaction. Nothing void is ever live again.

    Raises:
        NotFoundError: there is no such claim.
        InvalidTransitionError: it is void already.
        SessionInUseError: the session is already in a transaction.
        CalculationError: the database failed for good; nothing was stored.
    """
    planned: _Plan | None = None

    async def once(_number: int) -> _Plan:
        nonlocal planned
        async with own_transaction(session) as connection:
            await lock_policies(connection, [request.policy_id])
            # The reply to a COMMIT may have been lost: then its withdrawal is there.
            if planned is None or not await _is_stored(connection, request, planned):
                claims = await claims_of_policy(connection, request.policy_id)
                planned = _plan(request, claims)
                await _store(connection, request, planned)
        return planned

    try:
        return (await until_done(once, LEASED_RETRY_SECONDS)).as_voided(request)
    except (DBAPIError, OSError) as error:
        raise CalculationError(
            f"claim {request.reference}: the database said "
            f"{sqlstate_of(error) or type(error).__name__}; nothing was stored"
        ) from error


class _Plan(NamedTuple):
    event_id: int
    layers: Sequence[ClaimRow]

    def as_voided(self, request: VoidRequest) -> Voided:
        return Voided(
            request.reference,
            self.event_id,
            tuple(claim_reference(layer.policy_id, layer.id) for layer in self.layers),
            sum(layer.exhaustion_minor - layer.attachment_minor for layer in self.layers),
        )


def _plan(request: VoidRequest, claims: Sequence[ClaimRow]) -> _Plan:
    """The named claim's event, and the layers to make void: from the top of its period down."""
    named = next((claim for claim in claims if claim.id == request.claim_id), None)
    if named is None:
        raise NotFoundError("claim", request.reference)
    if not is_live(named.status):
        raise InvalidTransitionError(named.status, ClaimStatus.VOID)
    layers = [
        claim for claim in claims if claim.period_key == named.period_key and is_live(claim.status)
    ]
    floor_minor = min(c.attachment_minor for c in layers if c.event_id == named.event_id)
    affected = [layer for layer in layers if layer.attachment_minor >= floor_minor]
    affected.sort(key=lambda layer: layer.attachment_minor, reverse=True)
    return _Plan(named.event_id, affected)


async def _store(connection: AsyncConnection, request: VoidRequest, plan: _Plan) -> None:
    await void_claims(connection, request.policy_id, [layer.id for layer in plan.layers])
    await insert_withdrawal(
        connection, request.policy_id, plan.event_id, request.reason, request.actor
    )


async def _is_stored(connection: AsyncConnection, request: VoidRequest, plan: _Plan) -> bool:
    withdrawals = await withdrawals_of_policies(connection, [request.policy_id])
    return any(
        (known.event_id, known.reason, known.actor)
        == (plan.event_id, request.reason, request.actor)
        for known in withdrawals
    )
