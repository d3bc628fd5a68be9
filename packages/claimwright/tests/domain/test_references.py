"""A claim's name, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.errors import InvalidInputError
from claimwright.domain.references import claim_reference, parse_claim_reference

IDS = st.integers(0, 2**63 - 1)


@given(policy_id=IDS, claim_id=IDS)
def test_a_reference_names_the_ids_it_was_made_of(policy_id: int, claim_id: int) -> None:
    reference = claim_reference(policy_id, claim_id)
    assert parse_claim_reference(f" {reference} ") == (policy_id, claim_id)


@pytest.mark.parametrize(
    "text", ["", "1041", "-1-2", "1-2-3", "1041-", "a-b", "1_0-2", "٣-1", "1-9223372036854775808"]
)
def test_what_is_not_two_ids_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a claim's reference"):
        parse_claim_reference(text)
