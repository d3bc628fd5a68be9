"""A file that appears whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from claimwright.domain.errors import InvalidInputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the path's place when the block ends without an error.

    It is written beside the path under a name of its own and renamed; a link is followed.

    Raises:
        InvalidInputError: the path is not a file's, or cannot be written.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise InvalidInputError(f"{path} is not a file")
    beside = target.with_name(f".{target.name[:100]}.{token_hex(8)}.part")
    try:
        # Not tempfile: its files are readable by their owner alone, whatever the umask says.
        with beside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    except (ConnectionError, TimeoutError):
        raise  # not the file's: whoever fills it lost a server
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink()
