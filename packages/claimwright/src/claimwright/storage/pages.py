"""Pages: a bounded part of a list, and where the next one begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from claimwright.domain.errors import InvalidInputError

Item = TypeVar("Item")

#: The most rows one page can hold.
LARGEST_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, and the cursor after which the others come; `None` at the end."""

    items: Sequence[Item]
    next_after: str | None


def page_of(items: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Page[Item]:
    """A page out of at most ``limit + 1`` items, the last of which says that there are more."""
    if len(items) <= limit:
        return Page(items, None)
    return Page(items[:limit], cursor(items[limit - 1]))


def checked_limit(limit: int) -> int:
    """The limit of a page.

    Raises:
        InvalidInputError: it is not 1 to `LARGEST_PAGE`.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInputError(f"a page has 1 to {LARGEST_PAGE:,} rows, not {limit:,}")
    return limit
