"""The commands of docs/how-to/back-up-and-restore.md, on real servers."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from claimwright.embedded import ServerAddresses, create_database, drop_database
from claimwright.embedded.programs import installed_programs
from claimwright.operations.doctor import Health, examine
from claimwright.operations.verify import Verdict, verify
from claimwright.runtime import Runtime, open_runtime, reach_servers
from claimwright.settings import load_settings
from support.databases import environment_of
from support.weather import World

from .test_verify import store_right_claims

HOW_TO = Path(__file__).parents[4] / "docs" / "how-to" / "back-up-and-restore.md"
_numbers = count(1)


@pytest.fixture
def restored(servers: ServerAddresses) -> Iterator[ServerAddresses]:
    """An empty database with the roles that a new server is given first."""
    name = f"restored_{next(_numbers)}"
    yield create_database(servers, name)
    drop_database(servers, name)


def commands(*, of: str) -> list[str]:
    """The shell lines of the section with this heading."""
    section = HOW_TO.read_text(encoding="utf-8").split(f"## {of}\n")[1].split("\n## ")[0]
    fenced = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for block in fenced for line in block.splitlines() if line.startswith("pg_")]


def run(line: str, owner_url: str, folder: Path) -> None:
    url = make_url(owner_url).set(drivername="postgresql").render_as_string(hide_password=False)
    environment = {
        **os.environ,
        "OWNER_URL": url,
        "PATH": f"{installed_programs().postgres}:{os.environ['PATH']}",
    }
    subprocess.run(["/bin/sh", "-euc", line], check=True, cwd=folder, env=environment, timeout=60)


async def test_a_restored_backup_is_clean_guarded_and_pays_nothing_twice(
    fresh_runtime: Runtime, restored: ServerAddresses, tmp_path: Path
) -> None:
    await store_right_claims(World(fresh_runtime))
    for line in commands(of="Back up"):
        run(line, fresh_runtime.addresses.owner_database_url, tmp_path)
    for line in commands(of="Restore"):
        run(line, restored.owner_database_url, tmp_path)
    settings = load_settings(environment_of(restored))
    with ExitStack() as stack:
        async with open_runtime(settings, reach_servers(settings, stack)) as runtime:
            assert (await verify(runtime)).verdict is Verdict.CLEAN
            failed = [one for one in (await examine(runtime)).checks if one.health is Health.FAIL]
            assert failed == []
            assert (await World(runtime).calculate()).claims == 0
            assert (await verify(runtime)).claims == 6
