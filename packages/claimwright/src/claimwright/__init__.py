"""A parametric-insurance claims engine that pays each claim exactly once.

The names below are loaded when they are first used: importing the package starts nothing, and the
command line does not wait for what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_NAMES_BY_MODULE = {
    "domain.calculator": ("ClaimCalculator",),
    "domain.errors": (
        "CalculationError",
        "ClaimwrightError",
        "InvariantViolationError",
        "LockNotAcquiredError",
    ),
    "domain.invariants": tuple(name for name in __all__ if name.startswith("verify_")),
    "domain.schedule": ("TIER_PAYOUTS",),
    "operations.calculate": (
        "calculate_claims",
        "process_policy_claims",
        "run_claim_calculation_task",
    ),
    "runtime": ("get_session",),
    "storage.claims": ("Claim", "get_claims_for_policy"),
    "storage.policies": ("Policy",),
    "storage.risk_events": ("RiskEvent",),
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


if not TYPE_CHECKING:  # a type checker knows the names above and no others

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF_NAME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
