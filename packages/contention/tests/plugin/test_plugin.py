"""``contention`` under plain pytest, in processes of its own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from contention.wire.servers import Servers

WriteShop = Callable[..., None]


def options(servers: Servers) -> list[str]:
    urls = servers.postgres.url, servers.redis.url
    return [
        "-p",
        "no:cacheprovider",
        f"--contention-postgres={urls[0]}",
        f"--contention-redis={urls[1]}",
    ]


def token_in(result: pytest.RunResult) -> str:
    (token,) = set(re.findall(r"replay: (c1\S+)", result.stdout.str()))
    return str(token)


def kept_in(pytester: pytest.Pytester) -> list[Path]:
    return list((pytester.path / ".contention").glob("*.json"))


def test_ten_lines_tell_that_an_order_oversells(
    pytester: pytest.Pytester, write_shop: WriteShop, servers: Servers
) -> None:
    write_shop()
    result = pytester.runpytest_subprocess(*options(servers))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*PromiseBrokenError: ILLEGAL: the invariant does not hold: -1 left*",
            "*w1  SELECT amount FROM stock WHERE item = 'tea'*->  (1)*",
            "*replay: c1*",
            "*= contention =*",
            "test_shop.py::test_no_oversell: ILLEGAL: the invariant does not hold: -1 left (*",
        ]
    )


def test_a_failure_is_tried_first_until_the_test_is_green(
    pytester: pytest.Pytester, write_shop: WriteShop, servers: Servers
) -> None:
    write_shop()
    pytester.runpytest_subprocess(*options(servers)).assert_outcomes(failed=1)
    assert len(kept_in(pytester)) == 1
    again = pytester.runpytest_subprocess(*options(servers))
    again.stdout.fnmatch_lines(["*test_no_oversell: ILLEGAL: * (1 schedule and * in * s)"])
    write_shop("FOR UPDATE")
    pytester.runpytest_subprocess(*options(servers)).assert_outcomes(passed=1)
    assert kept_in(pytester) == []


def test_a_fresh_process_replays_a_token_and_nothing_else(
    pytester: pytest.Pytester, write_shop: WriteShop, servers: Servers
) -> None:
    write_shop()
    first = pytester.runpytest_subprocess(*options(servers))
    token = token_in(first)
    again = pytester.runpytest_subprocess(*options(servers), f"--contention-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*test_no_oversell: ILLEGAL: * (1 schedule in * s)"])
    assert token_in(again) == token


def test_a_replay_that_passes_is_not_green_for_all_the_others(
    pytester: pytest.Pytester, write_shop: WriteShop, servers: Servers
) -> None:
    write_shop()
    token = token_in(pytester.runpytest_subprocess(*options(servers)))
    write_shop("FOR UPDATE")
    again = pytester.runpytest_subprocess(*options(servers), f"--contention-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*UndecidedError: UNKNOWN: *"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--contention-replay=abc"], "--contention-replay: a replay token begins with c1"),
        (["--contention-postgres=postgresql://x"], "go together: both servers, or neither"),
    ],
)
def test_a_wrong_option_ends_the_run_before_any_test(
    pytester: pytest.Pytester, write_shop: WriteShop, wrong: list[str], said: str
) -> None:
    write_shop()
    result = pytester.runpytest_subprocess(*wrong)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_without_addresses_servers_are_started_for_the_session(
    pytester: pytest.Pytester, write_shop: WriteShop
) -> None:
    write_shop("FOR UPDATE")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_test_that_asks_for_no_servers_hears_how_to_get_them(
    pytester: pytest.Pytester, write_shop: WriteShop
) -> None:
    write_shop()
    pytester.path.joinpath("test_shop.py").write_text(
        pytester.path.joinpath("test_shop.py").read_text().replace("(postgres, redis)", "()")
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no servers: ask for the fixtures postgres and redis*"])


def test_each_exploration_is_reported_in_a_folder_that_is_asked_for(
    pytester: pytest.Pytester, write_shop: WriteShop, servers: Servers
) -> None:
    write_shop()
    result = pytester.runpytest_subprocess(*options(servers), "--contention-report=reports")
    result.assert_outcomes(failed=1)
    page, document = sorted((pytester.path / "reports").iterdir())
    assert [page.name, document.name] == [
        "test_shop--test_no_oversell.html",
        "test_shop--test_no_oversell.json",
    ]
    assert "the invariant does not hold: -1 left" in page.read_text(encoding="utf-8")
    told = json.loads(document.read_text(encoding="utf-8"))
    assert told["counterexample"]["token"] == token_in(result)


def test_a_file_in_the_place_of_the_report_folder_ends_the_run(
    pytester: pytest.Pytester, write_shop: WriteShop
) -> None:
    write_shop()
    result = pytester.runpytest_subprocess("--contention-report=test_shop.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_shop.py is not a folder" in result.stderr.str()
