"""The life of a claim, read from its table."""

from itertools import product

import pytest

from claimwright.domain.errors import InvalidTransitionError
from claimwright.domain.lifecycle import TRANSITIONS, ClaimStatus, check_transition, is_live


def test_the_table_has_a_row_for_every_status() -> None:
    assert set(TRANSITIONS) == set(ClaimStatus)


@pytest.mark.parametrize(("before", "after"), list(product(ClaimStatus, ClaimStatus)))
def test_a_change_is_allowed_exactly_when_the_table_has_it(
    before: ClaimStatus, after: ClaimStatus
) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
        return
    with pytest.raises(
        InvalidTransitionError, match=f"a claim that is {before} cannot become {after}"
    ):
        check_transition(before, after)


@pytest.mark.parametrize(("before", "after"), [("paid", "refunded"), ("lost", "paid"), ("", "")])
def test_a_change_from_or_to_an_unknown_status_is_refused(before: str, after: str) -> None:
    with pytest.raises(InvalidTransitionError):
        check_transition(before, after)


def test_every_status_can_be_reached_from_calculated() -> None:
    reached = {ClaimStatus.CALCULATED}
    for _ in ClaimStatus:
        reached |= {after for before in reached for after in TRANSITIONS[before]}
    assert reached == set(ClaimStatus)


def test_void_has_no_way_out_and_every_other_status_a_way_into_it() -> None:
    assert not TRANSITIONS[ClaimStatus.VOID]
    assert all(
        ClaimStatus.VOID in TRANSITIONS[status]
        for status in ClaimStatus
        if status is not ClaimStatus.VOID
    )


def test_no_status_comes_back_to_itself() -> None:
    assert all(status not in after for status, after in TRANSITIONS.items())


def test_every_status_but_void_is_live() -> None:
    assert {status for status in ClaimStatus if is_live(status)} == set(ClaimStatus) - {
        ClaimStatus.VOID
    }
