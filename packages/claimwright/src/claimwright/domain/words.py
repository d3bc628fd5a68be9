"""Counts in sentences."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun, as in ``1 reading`` or ``1,204 readings``.

    Args:
        count: how many.
        noun: what one is called; words before it stay as they are, as in ``live claim``.
        plural: what several are called, where that is not the noun and an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
