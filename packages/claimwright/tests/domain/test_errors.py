"""Errors are plain facts: they survive a journey between processes."""

import inspect
import pickle

import pytest

from claimwright.domain import errors
from claimwright.domain.errors import ClaimwrightError


def tree_of(root: type[ClaimwrightError]) -> list[type[ClaimwrightError]]:
    return [root] + [error for child in root.__subclasses__() for error in tree_of(child)]


def sample_of(kind: type[ClaimwrightError]) -> ClaimwrightError:
    """An error with an argument of the declared type for each parameter of its own."""
    values: dict[object, object] = {str: "word", int: 7, float: 0.5, object: 8}
    if "__init__" not in vars(kind):
        return kind("a sentence")
    parameters = inspect.signature(kind).parameters.values()
    return kind(*[values[parameter.annotation] for parameter in parameters])


@pytest.mark.parametrize("kind", tree_of(ClaimwrightError))
def test_every_error_of_the_tree_can_be_pickled(kind: type[ClaimwrightError]) -> None:
    error = sample_of(kind)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert (copy.args, str(copy), vars(copy)) == (error.args, str(error), vars(error))


def test_every_error_of_the_room_hangs_on_the_one_tree() -> None:
    found = [
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, BaseException)
    ]
    assert all(issubclass(error, ClaimwrightError) for error in found)
