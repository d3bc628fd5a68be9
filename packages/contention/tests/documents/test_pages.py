"""What the pages show is what happens."""

from pathlib import Path

import pytest

from contention.wire.servers import Servers

from .pages import Change, Command, File, change, follow, is_shown, parts

ROOT = Path(__file__).parents[4]
README = ROOT / "packages" / "contention" / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "contention.md"
HOW_TO = ROOT / "docs" / "how-to" / "explore-under-pytest.md"


@pytest.mark.timeout(900)  # a reader's half hour, on a machine that may be busy
@pytest.mark.parametrize(
    ("page", "commands"),
    [(README, 2), (TUTORIAL, 9), (HOW_TO, 2)],
    ids=["readme", "tutorial", "how-to"],
)
def test_a_page_does_what_it_says(
    page: Path, commands: int, servers: Servers, tmp_path: Path
) -> None:
    assert follow(page.read_text(encoding="utf-8"), tmp_path, servers) == commands


def test_a_page_is_read_as_its_files_and_commands() -> None:
    page = "```ini\n# a.ini\nx\n```\n\n```python\nexplore()\n```\n\n```console\n$ a\nb\n$ c\n```\n"
    assert list(parts(page)) == [
        File("a.ini", "# a.ini\nx\n"),
        Command("a", ("b",)),
        Command("c", ()),
    ]


def test_a_change_is_made_in_the_one_place_that_it_means(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("a\nb\nc\n", encoding="utf-8")
    change(file, Change.of("--- a.py\n a\n-b\n+d\n+e\n"))
    assert file.read_text(encoding="utf-8") == "a\nd\ne\nc\n"
    with pytest.raises(AssertionError, match="is not once in"):
        change(file, Change.of("--- a.py\n-b\n+f\n"))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (["a 1", "b", "", "c", "z"], True),
        (["a 2", "z"], True),
        (["a 1", "b"], False),
        (["b", "a 1", "z"], False),
    ],
)
def test_an_ellipsis_stands_for_words_or_lines_and_nothing_else_is_forgiven(
    printed: list[str], *, expected: bool
) -> None:
    assert is_shown(("a …", "…", "z"), printed) is expected
