"""Small text files: terms and mappings."""

from pathlib import Path
from typing import Final

from claimwright.domain.errors import InvalidInputError

_MOST_BYTES: Final = 1_000_000


def read_small_text(path: Path) -> str:
    """The text of a UTF-8 file of at most a million bytes.

    Raises:
        InvalidInputError: it cannot be read, is larger, or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InvalidInputError(f"{path} has more than {_MOST_BYTES:,} bytes")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 at byte {error.start + 1}") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None
