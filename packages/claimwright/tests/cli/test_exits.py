"""Exit codes: one table, in which every branch of the tree of errors has its place."""

import pytest

from claimwright.cli.commands import app
from claimwright.cli.exits import EXIT_OF_ERROR, Exit, exit_of
from claimwright.domain import errors


def test_every_branch_of_the_tree_has_chosen_its_code() -> None:
    assert set(errors.ClaimwrightError.__subclasses__()) <= set(EXIT_OF_ERROR)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidTermsError("product.code", "is missing"), Exit.INVALID),
        (errors.InvalidTransitionError("void", "paid"), Exit.INVALID),
        (errors.NotFoundError("policy", 7), Exit.NOT_FOUND),
        (errors.LockNotAcquiredError("a key", 10), Exit.UNFINISHED),
        (errors.SessionInUseError("in use"), Exit.UNFINISHED),
        (errors.LeaseUnavailableError("away"), Exit.UNAVAILABLE),
        (errors.DatabaseUnavailableError("away"), Exit.UNAVAILABLE),
        (errors.EmbeddedServerError("away"), Exit.UNAVAILABLE),
        (errors.InvariantViolationError("paid twice"), Exit.DIFFERENCE),
    ],
)
def test_the_most_exact_class_of_an_error_decides(
    error: errors.ClaimwrightError, code: Exit
) -> None:
    assert exit_of(error) is code


def test_the_help_names_every_code() -> None:
    words = str(app.info.epilog).removeprefix("Exit codes: ").rstrip(".").split(", ")
    assert [int(word.split()[0]) for word in words] == sorted(Exit)
