"""What ``contention`` gives to pytest: servers, options, and a section of the report."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from contention.model.schedules import InvalidTokenError, Schedule
from contention.report.pytest_option import add_report_option, report_folder
from contention.report.write import ReportFolder
from contention.search.ambient import Ambient, surrounded_by
from contention.search.exploration import Exploration
from contention.search.kept import FOLDER, FolderMemory
from contention.wire.embedded import embedded_servers
from contention.wire.servers import (
    Links,
    PostgresServer,
    RedisServer,
    Servers,
    UnusableServerError,
)

_GROUP: Final = "contention"


@dataclass(slots=True)
class Findings:
    """What the explorations of a test session found, by test."""

    reports: ReportFolder | None
    by_test: list[tuple[str, Exploration]] = field(default_factory=list)

    def add(self, test: str, exploration: Exploration) -> None:
        """Keep what one exploration found, and report it where that was asked for."""
        self.by_test.append((test, exploration))
        if self.reports is not None:
            self.reports.add(test, exploration)


_FINDINGS = pytest.StashKey[Findings]()
_SERVERS = pytest.StashKey[Servers]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup(_GROUP, "orders of events on real servers")
    group.addoption(
        "--contention-replay",
        metavar="TOKEN",
        help="run the one schedule of a replay token, and nothing else, in every exploration",
    )
    group.addoption(
        "--contention-postgres",
        metavar="URL",
        help="a PostgreSQL that may be emptied, instead of one started for the session",
    )
    group.addoption(
        "--contention-redis",
        metavar="URL",
        help="a Redis or Valkey that may be emptied, instead of one started for the session",
    )
    group.addoption(
        "--contention-folder",
        metavar="FOLDER",
        default=str(FOLDER),
        help="where schedules that failed are kept, to be tried first (default: %(default)s)",
    )
    add_report_option(group)


def pytest_configure(config: pytest.Config) -> None:
    """Look at the options once, before any test runs."""
    config.stash[_FINDINGS] = Findings(report_folder(config))
    _replay(config)
    if bool(_option(config, "postgres")) != bool(_option(config, "redis")):
        raise pytest.UsageError(
            "--contention-postgres and --contention-redis go together: both servers, or neither"
        )


@pytest.fixture(scope="session")
def contention_servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The servers of the session: those of the options, or some of the kit's own."""
    postgres, redis = _option(request.config, "postgres"), _option(request.config, "redis")
    if not postgres:
        with embedded_servers() as servers:
            yield servers
        return
    try:
        servers = Servers(PostgresServer.from_url(postgres), RedisServer.from_url(redis))
    except UnusableServerError as error:
        raise pytest.UsageError(str(error)) from None
    yield servers


@pytest.fixture
def links(request: pytest.FixtureRequest, contention_servers: Servers) -> Links:
    """The servers' own addresses, without a gate: for what a test does beside an exploration."""
    request.node.stash[_SERVERS] = contention_servers
    return contention_servers.links


@pytest.fixture
def postgres(request: pytest.FixtureRequest, contention_servers: Servers) -> PostgresServer:
    """A PostgreSQL that explorations of the test run on and may empty."""
    request.node.stash[_SERVERS] = contention_servers
    return contention_servers.postgres


@pytest.fixture
def redis(request: pytest.FixtureRequest, contention_servers: Servers) -> RedisServer:
    """A Redis or Valkey that explorations of the test run on and may empty."""
    request.node.stash[_SERVERS] = contention_servers
    return contention_servers.redis


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Give the explorations of a test its servers, its memory and its name."""
    findings = item.config.stash[_FINDINGS]
    surroundings = Ambient(
        servers=item.stash.get(_SERVERS, None),
        memory=FolderMemory(item.config.rootpath / Path(_option(item.config, "folder"))),
        name=item.nodeid,
        replay=_replay(item.config),
        ended=lambda exploration: findings.add(item.nodeid, exploration),
    )
    with surrounded_by(surroundings):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each exploration: the verdict is never left unsaid."""
    found = terminalreporter.config.stash[_FINDINGS].by_test
    if not found:
        return
    terminalreporter.section("contention")
    for name, exploration in found:
        colour = {"green": True} if exploration.verdict.is_green else {"red": True}
        terminalreporter.write_line(f"{name}: {exploration.summary()}", **colour)


def _option(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"contention_{name}") or "")


def _replay(config: pytest.Config) -> Schedule | None:
    token = _option(config, "replay")
    try:
        return Schedule.from_token(token) if token else None
    except InvalidTokenError as error:
        raise pytest.UsageError(f"--contention-replay: {error}") from None
