"""Concurrent control, section 4: a Celery task is idempotent."""

from collections.abc import Iterator

import pytest
from celery import states

from claimwright.testing import create_test_policy, create_test_risk_event, get_claim_count
from claimwright.worker import calculate_policy_claims_task, process


@pytest.fixture
def policy_id() -> Iterator[int]:
    async def store() -> int:
        policy = await create_test_policy()
        await create_test_risk_event(policy.coverage_region)
        return policy.id

    yield process.run(lambda _: store())
    process.close()


def test_celery_task_idempotent(policy_id: int) -> None:
    task = calculate_policy_claims_task

    result1 = task.apply(args=[policy_id, "2025-01-15"])
    assert result1.state == states.SUCCESS
    claims_after_1 = get_claim_count(policy_id)

    result2 = task.apply(args=[policy_id, "2025-01-15"])
    assert result2.state == states.SUCCESS
    claims_after_2 = get_claim_count(policy_id)

    assert claims_after_1 == 1
    assert claims_after_1 == claims_after_2
