"""Terms written as TOML are the same terms."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from claimwright.domain.calendar import DayBoundary
from claimwright.domain.index import Comparison, IndexDefinition, IndexKind
from claimwright.domain.periods import PayoutFrequency
from claimwright.domain.schedule import PayoutSchedule
from claimwright.domain.terms import ProductTerms
from claimwright.domain.terms_text import terms_from_toml
from claimwright.domain.terms_toml import terms_to_toml

from .strategies import words

NUMBERS = st.decimals(min_value=-(10**11), max_value=10**11, places=6)


@st.composite
def any_terms(draw: st.DrawFn) -> ProductTerms:
    kind = draw(st.sampled_from(IndexKind))
    minimum, maximum = sorted(draw(st.sets(NUMBERS, min_size=2, max_size=2)))
    levels = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    thresholds = draw(st.sets(NUMBERS, min_size=len(levels), max_size=len(levels)))
    comparison = draw(st.sampled_from(Comparison))
    return ProductTerms(
        code="some-terms",
        peril=draw(words),
        index=IndexDefinition(
            variable=draw(words),
            unit=draw(words),
            kind=kind,
            plausible_minimum=minimum,
            plausible_maximum=maximum,
            window_hours=draw(st.integers(24, 744)) if kind is IndexKind.ROLLING_SUM else None,
            cadence_minutes=draw(st.integers(1, 1440)),
        ),
        comparison=comparison,
        schedule=PayoutSchedule.from_rules(
            {level: 10 * rank for rank, level in enumerate(levels, 1)}
        ),
        thresholds=tuple(sorted(thresholds, reverse=comparison is Comparison.AT_MOST)),
        frequency=draw(st.sampled_from(PayoutFrequency)),
        aggregate_limit_percent=draw(st.sampled_from([Decimal("0.000001"), Decimal(250)])),
        day_boundary=draw(st.sampled_from(DayBoundary)),
    )


@given(terms=any_terms())
def test_terms_written_as_toml_have_the_same_hash(terms: ProductTerms) -> None:
    assert terms_from_toml(terms_to_toml(terms)).sha256 == terms.sha256
