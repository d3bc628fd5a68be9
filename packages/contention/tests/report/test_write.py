"""Reports as files."""

import json
from pathlib import Path

import pytest

from contention.report.write import ReportFolder, write_report

from . import samples


def test_the_suffix_says_the_form(tmp_path: Path) -> None:
    found = samples.lost_update()
    text, page, document = (
        write_report(found, tmp_path / "new" / f"shop.{suffix}", "test_buy").read_text("utf-8")
        for suffix in ("txt", "html", "json")
    )
    assert text == f"test_buy\n{found}\n"
    assert page.startswith("<!doctype html>")
    assert json.loads(document)["title"] == "test_buy"


@pytest.mark.parametrize("name", ["shop.pdf", "shop"])
def test_another_suffix_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"a report is \.txt, \.html or \.json, not"):
        write_report(samples.legal(), tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_cannot_be_written_is_written_as_escapes(tmp_path: Path) -> None:
    for suffix in ("txt", "html", "json"):
        path = write_report(samples.legal(), tmp_path / f"shop.{suffix}", "test[\udcff]")
        assert "\\udcff" in path.read_text("utf-8")


def test_each_exploration_of_a_test_run_has_a_page_and_a_document(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "reports")
    first = folder.add("tests/test_shop.py::test_buy", samples.legal())
    second = folder.add("tests/test_shop.py::test_buy", samples.lost_update())
    assert first.name == "tests.test_shop--test_buy.html"
    assert second.name == "tests.test_shop--test_buy.2.html"
    assert {path.name for path in folder.folder.iterdir()} == {
        "tests.test_shop--test_buy.html",
        "tests.test_shop--test_buy.json",
        "tests.test_shop--test_buy.2.html",
        "tests.test_shop--test_buy.2.json",
    }


def test_tests_whose_names_no_file_can_have_keep_files_of_their_own(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path)
    names = [f"test_shop.py::test_buy[{kind}]" for kind in ("a/b", "a b", "a?b", "x" * 400, "..")]
    pages = {folder.add(name, samples.legal()) for name in names}
    assert len(pages) == len(names)
    assert all(page.parent == tmp_path and len(page.name) < 140 for page in pages)
