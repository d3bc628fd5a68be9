"""Stored terms are read from their canonical text alone, and every other text is named an error."""

import json

import pytest
from hypothesis import given

from claimwright.domain.errors import InvalidTermsError
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_canonical_json
from claimwright.testing import terms_for_testing

from .test_terms_toml import any_terms

RIGHT = terms_for_testing().canonical_json


@given(terms=any_terms())
def test_terms_come_back_from_their_canonical_text(terms: ProductTerms) -> None:
    assert terms_from_canonical_json(terms.canonical_json) == terms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"index":' + "9" * 10_000 + "}", "is not JSON"),
        ("[]", "is a table"),
        (RIGHT + " ", "is not the canonical text"),
        (json.dumps(json.loads(RIGHT)), "is not the canonical text"),
        (RIGHT.replace('"threshold":"1"', '"threshold":"1.0"'), "is not the canonical text"),
        (RIGHT.replace('"threshold":"1"', '"threshold":1.5'), "not an exact number"),
        (RIGHT.replace('"threshold":"1"', '"threshold":NaN'), "not an exact number"),
        (RIGHT.replace('"threshold":"1"', '"threshold":"4"'), "is not above the tier before it"),
    ],
)
def test_another_text_is_no_text_of_terms(text: str, said: str) -> None:
    with pytest.raises(InvalidTermsError, match=said):
        terms_from_canonical_json(text)
