"""Exit codes, and the one table that turns errors into them."""

from collections.abc import Mapping
from enum import IntEnum

from claimwright.domain import errors


class Exit(IntEnum):
    """What the exit code of a command says."""

    DONE = 0
    DIFFERENCE = 1
    """`verify` found claims that differ from what is due."""
    INVALID = 2
    """A wrong option or invalid input; nothing was stored."""
    NOT_FOUND = 3
    """What was named does not exist."""
    UNAVAILABLE = 4
    """A server cannot be reached or has another schema."""
    UNFINISHED = 5
    """A calculation failed or gave way, a stored row cannot be used, or an import stopped early."""
    PENDING = 6
    """`verify` found nothing wrong, but requested work is still pending."""
    PARTLY_REFUSED = 7
    """An import stored every good row and wrote the others to a quarantine file."""
    DEFECT = 70
    """An error that nobody expected; its traceback says where. Please report it."""
    INTERRUPTED = 130
    """Ctrl-C."""
    OUTPUT_CLOSED = 141
    """Whoever read the output closed it, as `head` does; what the command stored stays stored."""


#: The most exact class of an error decides; the table covers the tree, which a test checks.
EXIT_OF_ERROR: Mapping[type[errors.ClaimwrightError], Exit] = {
    errors.ClaimwrightError: Exit.UNFINISHED,
    errors.InvalidInputError: Exit.INVALID,
    errors.InvalidTransitionError: Exit.INVALID,
    errors.NotFoundError: Exit.NOT_FOUND,
    errors.UnusableRecordError: Exit.UNFINISHED,
    errors.CalculationError: Exit.UNFINISHED,
    errors.InvariantViolationError: Exit.DIFFERENCE,
    errors.DatabaseUnavailableError: Exit.UNAVAILABLE,
    errors.BrokerUnavailableError: Exit.UNAVAILABLE,
    errors.EmbeddedServerError: Exit.UNAVAILABLE,
    errors.LeaseUnavailableError: Exit.UNAVAILABLE,
}


def exit_of(error: errors.ClaimwrightError) -> Exit:
    """The exit code of an error."""
    for kind in type(error).__mro__:
        if kind in EXIT_OF_ERROR:
            return EXIT_OF_ERROR[kind]
    raise AssertionError("the table holds the root of the tree")
