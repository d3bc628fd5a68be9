"""What a search sets for its whole process is as it was when the last one has ended."""

import gc
from collections.abc import Iterator

import pytest

from contention.search.garbage import seldom_collected


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield
    gc.set_threshold(*before)


def test_garbage_is_collected_as_before_when_the_last_of_several_searches_has_ended() -> None:
    first, second = seldom_collected(), seldom_collected()
    with first:
        seldom = gc.get_threshold()
        assert seldom[0] > 10_000
        second.__enter__()
    assert gc.get_threshold() == seldom
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (701, 11, 12)


def test_garbage_is_collected_as_before_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), seldom_collected():
        raise ZeroDivisionError
    assert gc.get_threshold() == (701, 11, 12)


def test_who_never_collects_garbage_goes_on_so() -> None:
    gc.set_threshold(0)
    with seldom_collected():
        assert gc.get_threshold()[0] == 0
    assert gc.get_threshold()[0] == 0
