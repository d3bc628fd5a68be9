"""Celery: messages become operations, and nothing is decided here.

``celery -A claimwright.worker worker`` finds `app`. Importing defines the app and its tasks; the
environment is read, and servers are reached, when they are first used.
"""

from claimwright.worker.celery_app import app
from claimwright.worker.tasks import (
    calculate_all_claims_for_date,
    calculate_day_task,
    calculate_policies_task,
    calculate_policy_claims_task,
    evaluate_readings_task,
    plan_day_task,
)
from claimwright.worker.traces import begin_traces

__all__ = [
    "app",
    "begin_traces",
    "calculate_all_claims_for_date",
    "calculate_day_task",
    "calculate_policies_task",
    "calculate_policy_claims_task",
    "evaluate_readings_task",
    "plan_day_task",
]
