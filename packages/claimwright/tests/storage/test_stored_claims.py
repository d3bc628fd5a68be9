"""A claim made from what was stored is as if SQLAlchemy had loaded it."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import inspect

from claimwright.storage.claims import Claim

VALUES = {
    "policy_id": 7,
    "id": 3,
    "event_id": 1001,
    "event_date": date(2025, 1, 15),
    "period_key": "2025-01-15",
    "tier_level": "tier1",
    "attachment_minor": 0,
    "exhaustion_minor": 2_000,
    "amount_minor": 2_000,
    "payout_percentage": Decimal(20),
    "status": "calculated",
    "terms_sha256": b"hash",
    "calculation_id": UUID(int=1),
    "engine_version": "1",
    "calculated_at": datetime(2025, 1, 16, tzinfo=UTC),
}
FIRST_OF_ALL = f"""
from claimwright.storage.claims import Claim
print(Claim.stored(dict.fromkeys({sorted(VALUES)!r}, 3)).amount_minor)
"""


def test_a_stored_claim_has_its_values_its_key_and_no_session() -> None:
    claim = Claim.stored(VALUES)
    state = inspect(claim)
    assert {name: getattr(claim, name) for name in VALUES} == VALUES
    assert state.detached
    assert state.identity == (7, 3)
    assert state.session is None


def test_a_stored_claim_has_no_changes_until_somebody_makes_one() -> None:
    claim = Claim.stored(VALUES)
    assert not inspect(claim).modified
    claim.status = "approved"
    history = inspect(claim).attrs.status.history
    assert (list(history.deleted), list(history.added)) == (["calculated"], ["approved"])


def test_a_process_may_make_a_stored_claim_before_it_uses_sqlalchemy_for_anything() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_OF_ALL], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
