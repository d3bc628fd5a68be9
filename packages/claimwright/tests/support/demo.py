"""The demo as another process, in folders that the servers' account can enter."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Ten of each product and station; enough for every length of term.
SMALL = 60

_MAIN = "from claimwright.cli.app import main; main()"


@dataclass(frozen=True, slots=True)
class EndedDemo:
    """A demo that has ended: what it printed as JSON, the folder of its files and of its data."""

    facts: Any
    output: Path
    folder: Path


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that the servers' account can enter, which pytest's own are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="claimwright-demo-")).resolve()
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def demo_process(*arguments: str, temporary: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """`claimwright demo` in a session of its own, ended with the block if it still runs.

    Args:
        arguments: its options.
        temporary: what it takes for the system's temporary folder.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CLAIMWRIGHT_")
    }
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
