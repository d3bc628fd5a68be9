"""The command `claimwright`, from its first moment on.

Light on purpose: to load the commands takes a second, in which Ctrl-C is pressed as well.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

from claimwright.cli.failures import INTERRUPTED, wants_json

_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2


def main() -> None:
    """Run the command line and end the process with the command's exit code.

    Ctrl-C before a command has begun ends the process at once; so does one more while the first
    is being told. At the end it is ignored: the interpreter would answer with a traceback.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end_at_once)
    try:
        from claimwright.cli.endings import exit_code_of  # noqa: PLC0415 - guarded from here on

        code = exit_code_of(sys.argv[1:])
    except KeyboardInterrupt:
        _end_at_once()
    sys.exit(code)


def _end_at_once(_number: int = signal.SIGINT, _frame: FrameType | None = None) -> NoReturn:
    """End without unwinding: an exception in the middle of an import becomes anything."""
    with suppress(OSError):
        os.write(_STANDARD_ERROR, f"{INTERRUPTED.message}\n".encode())
        if wants_json(sys.argv[1:]):
            os.write(_STANDARD_OUTPUT, f"{INTERRUPTED.as_json()}\n".encode())
    os._exit(INTERRUPTED.exit)
