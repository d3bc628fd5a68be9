"""Elements whose text and attributes cannot leave their place."""

from hypothesis import given
from hypothesis import strategies as st

from contention.report.markup import element, text


def test_text_and_attributes_are_escaped() -> None:
    made = element("a", text("<b>&\x00"), href='"><script>', aria_label="a'b", id=None)
    assert made == (
        '<a href="&quot;&gt;&lt;script&gt;" aria-label="a&#x27;b">&lt;b&gt;&amp;\\x00</a>'
    )


@given(st.text())
def test_no_text_ends_its_element_or_attribute(value: str) -> None:
    made = element("p", text(value), title=value)
    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 2
    assert made.encode()
