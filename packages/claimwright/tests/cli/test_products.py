"""`claimwright products` as people use it."""

from pathlib import Path

import pytest

from claimwright.domain.terms_text import terms_from_toml
from support.commands import Commands


def test_the_same_terms_again_are_there_already_and_others_are_the_next_version(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    rain = examples / "nyc-rain.toml"
    assert command("products", "add", rain).out == "nyc-rain version 1 is added.\n"
    again = command("products", "add", rain)
    assert (again.code, again.out) == (0, "nyc-rain version 1 has these terms already.\n")
    other = tmp_path / "other.toml"
    other.write_text(rain.read_text(encoding="utf-8").replace("2.00", "2.5"), encoding="utf-8")
    added = command.json("products", "add", other)
    assert (added["version"], added["is_new"]) == (2, True)
    listed = command.json("products", "list")
    assert [(item["terms"]["product"]["code"], item["version"]) for item in listed] == [
        ("nyc-rain", 1),
        ("nyc-rain", 2),
    ]
    assert listed[1]["sha256"] == added["sha256"]
    assert "nyc-rain" in command("products", "list").out


def test_a_product_is_shown_with_its_thresholds_payouts_and_hash(
    command: Commands, examples: Path
) -> None:
    command("products", "add", examples / "nyc-rain.toml")
    terms = terms_from_toml((examples / "nyc-rain.toml").read_text(encoding="utf-8"))
    shown = command("products", "show", "nyc-rain")
    for word in ("tier3", ">= 3", "100", "200 % of the cover", "once_per_day", terms.sha256.hex()):
        assert word in shown.out
    assert "at the reading" in shown.out
    document = command.json("products", "show", "nyc-rain", "--version", 1)
    assert document["terms"] == terms.as_mapping()


def test_terms_printed_as_toml_can_be_added_again_as_the_same(
    command: Commands, examples: Path, tmp_path: Path
) -> None:
    command("products", "add", examples / "seattle-drought.toml")
    printed = command("products", "show", "seattle-drought", "--toml")
    (tmp_path / "again.toml").write_text(printed.out, encoding="utf-8")
    assert command.json("products", "add", "again.toml")["is_new"] is False


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[product]\ncode = 'x'\n", "index: is missing"),
        (b"[product", "is not TOML"),
        (b"\xff", "bad.toml is not UTF-8 at byte 1"),
        (b"#" * 1_000_001, "bad.toml has more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_holds_no_terms_exits_with_2_and_says_why(
    command: Commands, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    finished = command("products", "add", "bad.toml")
    assert (finished.code, finished.out) == (2, "")
    assert words in finished.err


def test_a_file_or_a_product_that_is_not_there_has_an_exit_code_of_its_own(
    command: Commands,
) -> None:
    assert command("products", "add", "nowhere.toml").code == 2
    for arguments in (["show", "nyc-rain"], ["show", "nyc-rain", "--version", "7"]):
        finished = command("products", *arguments)
        assert finished.code == 3
        assert "there is no product nyc-rain" in finished.err


def test_brackets_of_an_error_are_printed_as_they_are(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[variables]]\n[red]\n", encoding="utf-8")
    finished = command("products", "show", "[/red][bold]")
    assert "there is no product [/red][bold]" in finished.err
