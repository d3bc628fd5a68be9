"""How people name a claim: ``POLICY-CLAIM``, as in ``1041-88``."""

import re

from claimwright.domain.errors import InvalidInputError

_REFERENCE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_LARGEST_ID = 2**63 - 1


def claim_reference(policy_id: int, claim_id: int) -> str:
    """The name of a claim, from the ids of its policy and its own."""
    return f"{policy_id}-{claim_id}"


def parse_claim_reference(text: str) -> tuple[int, int]:
    """The ids of the policy and of the claim that a reference names.

    Raises:
        InvalidInputError: it is not two ids joined by a hyphen.
    """
    match = _REFERENCE.fullmatch(text.strip())
    ids = tuple(int(part) for part in match.groups()) if match else ()
    if not ids or max(ids) > _LARGEST_ID:
        raise InvalidInputError(f"{text!r} is not a claim's reference such as 1041-88")
    return ids[0], ids[1]
