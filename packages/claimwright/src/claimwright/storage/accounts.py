"""The accounts that the database's guard keeps: read here, written by its triggers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the guard has on record for some policies.

    Attributes:
        paid_minor: by policy, what its live claims add up to.
        exhaustion_minor: by policy and benefit period, where its live layers end.
    """

    paid_minor: dict[int, int]
    exhaustion_minor: dict[int, dict[str, int]]


_PAID = text("SELECT policy_id, paid_minor FROM policy_accounts WHERE policy_id = ANY(:ids)")
_PERIODS = text(
    """
    SELECT policy_id, period_key, exhaustion_minor FROM period_accounts
    WHERE policy_id = ANY(:ids)
    """
)


async def accounts_of_policies(connection: AsyncConnection, policy_ids: Sequence[int]) -> Accounts:
    """The guard's accounts of these policies; one that has none is not in the mappings."""
    ids = {"ids": list(policy_ids)}
    paid_minor = {row.policy_id: row.paid_minor for row in await connection.execute(_PAID, ids)}
    periods: dict[int, dict[str, int]] = {}
    for policy_id, period_key, exhaustion_minor in await connection.execute(_PERIODS, ids):
        periods.setdefault(policy_id, {})[period_key] = exhaustion_minor
    return Accounts(paid_minor, periods)
