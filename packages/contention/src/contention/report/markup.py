"""Elements of HTML and SVG, whose text and attributes are always escaped."""

from collections.abc import Iterable
from html import escape
from typing import NewType

from contention.search.story import visible

Markup = NewType("Markup", str)
"""Text that is markup already, made by this module alone."""

Attribute = str | int | float | None


def element(name: str, *content: Markup, **attributes: Attribute) -> Markup:
    """An element with its content.

    Args:
        name: as in ``svg``.
        content: each is markup, made with `text` or `element`.
        attributes: ``class_`` is ``class``, and ``_`` stands for ``-``; `None` leaves one out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{''.join(content)}</{name}>")


def text(value: str) -> Markup:
    """Text, whatever it holds."""
    return Markup(escape(visible(value)))


def joined(parts: Iterable[Markup], between: str = "\n") -> Markup:
    """Markup after markup."""
    return Markup(between.join(parts))


def _value(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return escape(visible(str(value)))
