"""Names in product terms: text that can be printed, compared and stored."""

from typing import Final

from claimwright.domain.errors import InvalidTermsError

#: The most characters of a name; readings, regions and policies have the same bound.
MOST_NAME_CHARACTERS: Final = 200


def terms_name(key: str, text: str, *, most_characters: int = MOST_NAME_CHARACTERS) -> str:
    """A name, or a few words: not empty, on one line, without spaces around it.

    Raises:
        InvalidTermsError: it is something else.
    """
    if not text.strip():
        raise InvalidTermsError(key, "may not be empty")
    if len(text) > most_characters:
        raise InvalidTermsError(key, f"has at most {most_characters} characters, not {len(text)}")
    if text != text.strip() or not text.isprintable():
        raise InvalidTermsError(key, f"{text!r} has spaces around it or cannot be printed")
    return text
