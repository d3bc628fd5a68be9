"""A parametric-insurance claims engine that pays each claim exactly once."""

from claimwright.domain.calculator import ClaimCalculator
from claimwright.domain.errors import (
    CalculationError,
    ClaimwrightError,
    InvariantViolationError,
    LockNotAcquiredError,
)
from claimwright.domain.invariants import (
    verify_contiguous_layers,
    verify_inside_coverage,
    verify_no_downgrade,
    verify_no_duplicate_claims,
    verify_period_payout_invariant,
    verify_recomputable,
    verify_within_aggregate_limit,
)
from claimwright.domain.schedule import TIER_PAYOUTS
from claimwright.operations.calculate import (
    calculate_claims,
    process_policy_claims,
    run_claim_calculation_task,
)
from claimwright.runtime import get_session
from claimwright.storage.claims import Claim, get_claims_for_policy
from claimwright.storage.policies import Policy
from claimwright.storage.risk_events import RiskEvent

__all__ = [
    "TIER_PAYOUTS",
    "CalculationError",
    "Claim",
    "ClaimCalculator",
    "ClaimwrightError",
    "InvariantViolationError",
    "LockNotAcquiredError",
    "Policy",
    "RiskEvent",
    "calculate_claims",
    "get_claims_for_policy",
    "get_session",
    "process_policy_claims",
    "run_claim_calculation_task",
    "verify_contiguous_layers",
    "verify_inside_coverage",
    "verify_no_downgrade",
    "verify_no_duplicate_claims",
    "verify_period_payout_invariant",
    "verify_recomputable",
    "verify_within_aggregate_limit",
]
