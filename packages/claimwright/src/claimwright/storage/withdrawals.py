"""Withdrawals: an event that no longer pays one policy, with who said so and why. Append-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The event pays every policy of its group but this one."""

    policy_id: int
    event_id: int
    reason: str
    actor: str
    withdrawn_at: datetime


_COLUMNS = ", ".join(Withdrawal.__dataclass_fields__)
_OF_POLICIES = text(f"SELECT {_COLUMNS} FROM event_withdrawals WHERE policy_id = ANY(:ids)")
_INSERT = text(
    """
    INSERT INTO event_withdrawals (policy_id, event_id, reason, actor)
    VALUES (:policy_id, :event_id, :reason, :actor)
    """
)


async def withdrawals_of_policies(
    connection: AsyncConnection, policy_ids: Sequence[int]
) -> list[Withdrawal]:
    """Every withdrawal from these policies."""
    rows = await connection.execute(_OF_POLICIES, {"ids": list(policy_ids)})
    return [Withdrawal(*row) for row in rows]


async def insert_withdrawal(
    connection: AsyncConnection, policy_id: int, event_id: int, reason: str, actor: str
) -> None:
    """Withdraw an event from a policy; the database asks for the policy's calculation."""
    await connection.execute(
        _INSERT, {"policy_id": policy_id, "event_id": event_id, "reason": reason, "actor": actor}
    )
