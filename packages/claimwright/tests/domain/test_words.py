"""Counts in sentences."""

import pytest

from claimwright.domain.words import counted


@pytest.mark.parametrize(
    ("count", "words", "sentence"),
    [
        (0, ("reading",), "0 readings"),
        (1, ("reading",), "1 reading"),
        (1_204, ("live claim",), "1,204 live claims"),
        (1, ("policy", "policies"), "1 policy"),
        (2, ("policy", "policies"), "2 policies"),
    ],
)
def test_one_is_singular_and_every_other_count_plural(
    count: int, words: tuple[str, ...], sentence: str
) -> None:
    assert counted(count, *words) == sentence
