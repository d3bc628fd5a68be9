"""Somebody who ends servers when whoever started them is gone and can no longer do it.

A process that is killed runs no clean-up. The guardian is a shell that waits for the other end of a
pipe: a word means that all is done, an end without a word that the process has died.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PID_FILES: Final = ("postgres/postmaster.pid", "redis.pid")
_WATCH: Final = """
read -r word && exit
folder=$1; shift
for file in "$@"; do
    [ -r "$folder/$file" ] && read -r pid < "$folder/$file" && kill -QUIT "$pid"
done
for file in "$@"; do
    [ -r "$folder/$file" ] && read -r pid < "$folder/$file" || continue
    while kill -0 "$pid"; do sleep 0.1; done
done
rm -rf "$folder"
"""
# PostgreSQL ends at once on SIGQUIT, without a checkpoint; what is in the folder is gone anyway.


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """End the servers in a folder, and remove it, should this process die within the block.

    Args:
        folder: of the servers; their process ids stand in ``postgres/postmaster.pid`` and
            ``redis.pid``.
    """
    command = ["/bin/sh", "-c", _WATCH, "contention-guardian", str(folder), *_PID_FILES]
    with subprocess.Popen(  # noqa: S603 - a fixed script, and a folder as its argument
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the process that it watches
    ) as guardian:
        assert guardian.stdin is not None  # noqa: S101 - it has a pipe
        try:
            yield
        finally:
            guardian.stdin.write(b"done\n")
            guardian.stdin.close()
