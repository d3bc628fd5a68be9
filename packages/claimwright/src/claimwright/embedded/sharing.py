"""Who uses the servers of a folder: kernel locks, so that a killed process stops counting.

Each user of a folder holds a shared lock on one file for as long as it lives; the kernel drops
the lock with the process, however it ends, so there are no process ids to go stale or to be
reused. Whoever can take that lock exclusively knows that nobody else is there. All starting,
joining and stopping happens in turns, under a second lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from claimwright.domain.errors import EmbeddedServerError

TURN_SECONDS = 180
"""How long one waits for its turn; above what a start and a stop may take together."""

_POLL_SECONDS = 0.02
_USERS_FILE = "users.lock"
_CLOSED = -1


class Membership:
    """One use of a folder's servers, counted until `end` or until the process dies.

    Two memberships of one process count as two. A child made by ``fork`` shares its parent's, as it
    can use the servers too: it counts until both have ended.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = _open(folder / _USERS_FILE)
        # Only `nobody_uses` locks exclusively, and for no longer than a glance.
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def end(self) -> None:
        """Stop counting; again is harmless."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED


def nobody_uses(folder: Path) -> bool:
    """Whether no living process has a `Membership` of ``folder``; call it in a turn."""
    descriptor = _open(folder / _USERS_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


@contextmanager
def turn(lock_file: Path) -> Iterator[None]:
    """Hold ``lock_file`` alone.

    Raises:
        EmbeddedServerError: others held it for `TURN_SECONDS`.
    """
    descriptor = _open(lock_file)
    try:
        _lock_before(time.monotonic() + TURN_SECONDS, descriptor, lock_file)
        yield
    finally:
        os.close(descriptor)


def _lock_before(deadline: float, descriptor: int, lock_file: Path) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                message = f"another process has held {lock_file} for {TURN_SECONDS} s"
                raise EmbeddedServerError(message) from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def _open(file: Path) -> int:
    """Open a lock file, never through a link; children made by exec do not inherit it."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedServerError(f"cannot open {file}: {error.strerror}") from error
