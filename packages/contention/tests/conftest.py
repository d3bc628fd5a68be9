"""What holds for every test of the kit itself."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contention.search.ambient import ambient, surrounded_by


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:  # noqa: ARG001 - a hook's signature
    """Let every search find its failures anew: one that is remembered proves no search."""
    with surrounded_by(replace(ambient(), memory=None)):
        return (yield)
