"""The folders of the embedded servers: who owns them and who can enter them."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from claimwright.domain.errors import EmbeddedServerError
from claimwright.embedded.addresses import POSTGRES_PORT
from claimwright.embedded.programs import Account, Programs, reachable_programs, server_account

SOCKET_PATH_BYTES = 103
"""The longest unix socket path on macOS; Linux allows four more."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
_SHELL_CHARACTERS = set("\"'`$\\\n")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one folder is.

    Attributes:
        folder: what the user named, absolute.
        account: who owns the three folders below and runs the servers.
        programs: the servers' programs.
        data: PostgreSQL's data folder; it exists once the cluster is complete.
        valkey: Valkey's working folder.
        sockets: both servers' sockets, mode 0700; elsewhere when ``folder`` is too long for them.
    """

    folder: Path
    account: Account
    programs: Programs
    data: Path
    valkey: Path
    sockets: Path

    @property
    def valkey_socket(self) -> Path:
        """Valkey's socket."""
        return self.sockets / "valkey.sock"


def open_folder(folder: Path) -> Path:
    """Make ``folder`` if it is missing and return it absolute, without links.

    Raises:
        EmbeddedServerError: it cannot be made, or PostgreSQL's tools could not name it.
    """
    absolute = folder.expanduser().resolve()
    if _SHELL_CHARACTERS & set(str(absolute)):
        raise EmbeddedServerError(f"choose a data folder without quotes, $ and \\: {absolute}")
    try:
        absolute.mkdir(parents=True)
        absolute.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise EmbeddedServerError(f"cannot make {absolute}: {error.strerror}") from error
    return absolute


def prepare_layout(folder: Path) -> Layout:
    """Make what is missing in ``folder`` (absolute, existing) and return where things are.

    Call it in a turn. Permissions of folders that exist already are never changed.

    Raises:
        EmbeddedServerError: another user's folder, or one that the servers' account cannot enter.
    """
    account = server_account()
    closed = [path for path in (folder, *folder.parents) if not account.can_enter(path)]
    if closed:
        raise EmbeddedServerError(
            f"as root the servers run as another system user, which cannot enter {closed[-1]}: "
            "choose a data folder outside private homes, such as /var/lib/claimwright"
        )
    try:
        return Layout(
            folder=folder,
            account=account,
            programs=reachable_programs(account, folder),
            data=folder / "postgres",
            valkey=private_folder(folder / "valkey", account),
            sockets=_sockets_folder(folder, account),
        )
    except OSError as error:
        raise EmbeddedServerError(f"cannot use {folder}: {error}") from error


def private_folder(path: Path, account: Account) -> Path:
    """Make ``path`` with mode 0700 for the account, or check that it is exactly that already.

    Raises:
        EmbeddedServerError: something else is there, such as another user's folder.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if not (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == account.uid
            and stat.S_IMODE(status.st_mode) == 0o700  # noqa: PLR2004 - read as permissions
        ):
            raise EmbeddedServerError(
                f"{path} is not a folder of mode 0700 that belongs to user {account.uid}"
            ) from None
    else:
        account.give(path)
    return path


def remove_folder(folder: Path) -> None:
    """Delete a folder whose servers have stopped, and its sockets' folder wherever it is."""
    sockets = folder / "run"
    if sockets.is_symlink():
        shutil.rmtree(sockets.readlink(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _sockets_folder(folder: Path, account: Account) -> Path:
    """Return the folder for sockets; the link ``run`` remembers where a short one is."""
    usual = folder / "run"
    if usual.is_symlink():
        return private_folder(usual.readlink(), account)
    if _is_good_for_sockets(usual):
        return private_folder(usual, account)
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()).resolve() / f"claimwright-{account.uid}-{digest}"
    if not _is_good_for_sockets(short):
        raise EmbeddedServerError(f"the path of a socket in {short} would be too long or unusual")
    private_folder(short, account)
    usual.symlink_to(short)
    return short


def _is_good_for_sockets(folder: Path) -> bool:
    longest = f"{folder}/.s.PGSQL.{POSTGRES_PORT}"
    return len(longest) <= SOCKET_PATH_BYTES and bool(_PLAIN_PATH.fullmatch(longest))
