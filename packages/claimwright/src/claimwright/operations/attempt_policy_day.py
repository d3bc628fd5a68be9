"""One policy and date on demand: the database does not ask for it, and so does not count it."""

from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from claimwright.metrics import WORK_DEAD
from claimwright.operations.attempts import in_time
from claimwright.operations.calculate import PolicyCalculation
from claimwright.operations.transactions import retried
from claimwright.runtime import Runtime
from claimwright.storage.claims import Claim
from claimwright.storage.handing_on import ask_for_policy
from claimwright.storage.requests import RequestKind
from claimwright.storage.work_attempts import give_up_policy


async def attempt_policy_day(runtime: Runtime, policy_id: int, day: date) -> list[Claim]:
    """Calculate one policy and date under a lease; the claims that were created."""
    calculation = PolicyCalculation().run(
        runtime.engine, runtime.redis, policy_id, day, runtime.lease_options
    )
    return await in_time(runtime, calculation)


async def have_it_counted(runtime: Runtime, policy_id: int) -> bool:
    """Ask for a policy's whole term, whose attempts are counted; whether nobody had asked yet."""

    async def ask(connection: AsyncConnection) -> bool:
        return await ask_for_policy(connection, policy_id)

    return await retried(runtime, ask)


async def bury_policy(runtime: Runtime, policy_id: int, reason: str) -> None:
    """Leave a dead letter for a policy whose calculation failed for the last time."""

    async def bury(connection: AsyncConnection) -> bool:
        return await give_up_policy(connection, policy_id, reason)

    if await retried(runtime, bury):
        WORK_DEAD.labels(RequestKind.POLICY).inc()
