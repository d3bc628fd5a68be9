"""Somebody who ends servers when whoever started them is gone and can no longer do it.

A process that is killed runs no clean-up. The guardian is a shell that waits for the other end of a
pipe: a word means that all is done, an end without a word that the process has died.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SERVERS: Final = ("QUIT", "postgres/postmaster.pid", "KILL", "redis.pid")
"""Signals, and the files that say for whom. PostgreSQL ends its own processes on SIGQUIT, at once
and without a checkpoint; a Redis that was started in the background would ignore it."""
_WATCH: Final = """
read -r word && exit
folder=$1; shift
while [ $# -gt 0 ]; do
    if [ -r "$folder/$2" ] && read -r pid < "$folder/$2"; then
        kill -s "$1" "$pid" && while kill -s 0 "$pid"; do sleep 0.1; done
    fi
    shift 2
done
rm -rf "$folder"
"""


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """End the servers in a folder, and remove it, should this process die within the block.

    Args:
        folder: of the servers; their process ids stand in ``postgres/postmaster.pid`` and
            ``redis.pid``.
    """
    command = ["/bin/sh", "-c", _WATCH, "contention-guardian", str(folder), *_SERVERS]
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
