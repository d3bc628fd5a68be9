"""Roles and databases on an embedded server, made by the superuser through psql."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from claimwright.domain.errors import InvalidInputError
from claimwright.embedded.addresses import (
    DATABASE,
    POSTGRES_PORT,
    SUPERUSER_LOGIN,
    ServerAddresses,
)
from claimwright.embedded.layout import Layout
from claimwright.embedded.programs import (
    Account,
    reachable_programs,
    run_checked,
    server_account,
)

SQL_SECONDS = 60

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def create_database(
    addresses: ServerAddresses, name: str, *, template: str | None = None
) -> ServerAddresses:
    """Make a database with the engine's owner and privileges, and return its addresses.

    Args:
        addresses: any database of the server.
        name: a lower-case word that no database has yet.
        template: a database to copy, tables and rows included; nobody may be connected to it.

    Raises:
        InvalidInputError: a name that would need quoting.
        EmbeddedServerError: the name is taken, or somebody is connected to the template.
    """
    variables = {"name": _plain(name), "template": _plain(template or "template1")}
    _console_of(addresses).run(_script("database.sql"), variables | {"or_keep": "false"})
    return addresses.for_database(name)


def drop_database(addresses: ServerAddresses, name: str) -> None:
    """Remove a database and disconnect who uses it; nothing happens if there is none.

    Raises:
        InvalidInputError: a name that would need quoting.
    """
    script = 'DROP DATABASE IF EXISTS :"name" WITH (FORCE);'
    _console_of(addresses).run(script, {"name": _plain(name)})


def ensure_roles_and_database(layout: Layout) -> None:
    """Make the roles and the database of a server that has just started, or repair them."""
    console = Console(layout.account, layout.programs.postgres, layout.sockets)
    console.run(_script("roles.sql"), {})
    variables = {"name": DATABASE, "template": "template1", "or_keep": "true"}
    console.run(_script("database.sql"), variables)


@dataclass(frozen=True, slots=True)
class Console:
    """The superuser's psql on the server whose sockets are in one folder."""

    account: Account
    programs: Path
    sockets: Path

    def run(self, script: str, variables: Mapping[str, str]) -> None:
        """Run a psql script with psql variables.

        Raises:
            EmbeddedServerError: a statement failed; the script ended there.
        """
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1"]
        for key, value in variables.items():
            options += ["-v", f"{key}={value}"]
        where = ["-h", str(self.sockets), "-p", str(POSTGRES_PORT)]
        who = ["-U", SUPERUSER_LOGIN, "-d", "postgres", "-f", "-"]
        run_checked(
            self.account,
            [self.programs / "psql", *options, *where, *who],
            cwd=self.sockets,
            timeout_seconds=SQL_SECONDS,
            stdin=script,
        )


def _console_of(addresses: ServerAddresses) -> Console:
    account = server_account()
    sockets = Path(str(make_url(addresses.superuser_database_url).query["host"]))
    return Console(account, reachable_programs(account, addresses.folder).postgres, sockets)


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"a database name is a lower-case word, not {name!r}")
    return name
