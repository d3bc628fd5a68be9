"""Explorations as a page that needs nothing else."""

import re
import shlex
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from contention.report.page import as_html
from contention.search.exploration import Exploration

from . import samples

SAMPLES = [
    samples.lost_update,
    samples.deadlock,
    samples.lease_too_short,
    samples.forty_steps,
    samples.nasty,
    samples.legal,
]
SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta"}


class Page(HTMLParser):
    """The elements of a page, whose tags are seen to match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(attribute)) is not None]


def diagram(found: Exploration) -> ET.Element:
    html = as_html(found)
    (svg,) = re.findall(r"<svg xmlns=.*?</svg>(?=</div>)", html, re.DOTALL)
    return ET.fromstring(svg)  # noqa: S314 - made by the code under test


def classes(svg: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in svg.iter() if name in one.get("class", "").split()]


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_is_whole_and_every_link_leads_somewhere_on_it(
    sample: Callable[[], Exploration],
) -> None:
    page = Page(as_html(sample(), "test_shop.py::test_buy"))
    ids = page.all("id")
    assert page.open == []
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.all("href")} <= set(ids)
    assert set(" ".join(page.all("aria-labelledby")).split()) <= set(ids)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_runs_and_loads_nothing(sample: Callable[[], Exploration]) -> None:
    page = Page(as_html(sample()))
    names = {name for _, found in page.tags for name in found}
    assert not {"script", "link", "img", "iframe", "base"} & {tag for tag, _ in page.tags}
    assert not {"src", "srcset", "style"} & names
    assert not [name for name in names if name.startswith("on")]
    assert all(link.startswith("#") for link in page.all("href"))
    (policy,) = [one for one in page.all("content") if "default-src" in one]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_policy_allows_the_very_style_that_stands_on_the_page() -> None:
    html = as_html(samples.legal())
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in html
    assert "url(" not in style


def test_what_sql_and_names_hold_is_shown_and_never_obeyed() -> None:
    html = as_html(samples.nasty(), "<i>test")
    page = Page(html)
    assert "</script>" not in html
    assert not {"i", "table&amp;", "lambda"} & {tag for tag, _ in page.tags}
    assert len([tag for tag, _ in page.tags if tag == "b"]) == 1
    assert "SELECT '</script><b>&amp;\\x1b[31m\\u202e' /* \"quoted\" */" in page.text
    assert html.isprintable() or {c for c in html if not c.isprintable()} == {"\n"}


def test_each_step_is_a_row_of_the_diagram_that_leads_to_its_full_text() -> None:
    found = samples.forty_steps()
    html = as_html(found)
    assert found.counterexample is not None
    for step in found.counterexample.steps:
        assert f'href="#step-{step.number}" id="row-{step.number}"' in html
        assert step.text in unescape(html)


def test_a_bar_lasts_as_long_as_its_wait() -> None:
    svg = diagram(samples.lost_update())
    (bar,) = classes(svg, "wait")
    marks = [one for one in svg.iter(f"{SVG}circle") if "mark" in one.get("class", "")]
    blocked, answered = marks[3], marks[5]
    top, height = float(bar.get("y", "")), float(bar.get("height", ""))
    assert blocked.get("class") == "mark blocked"
    assert (top, top + height) == (float(blocked.get("cy", "")), float(answered.get("cy", "")))
    assert float(bar.get("x", "")) + 7 == float(blocked.get("cx", ""))


def test_an_arrow_ends_at_the_lane_of_what_is_touched() -> None:
    svg = diagram(samples.lost_update())
    (_, _, stock) = [float(one.get("d", "")[1:].split()[0]) for one in classes(svg, "lane")]
    tips = [one.get("d", "") for one in classes(svg, "tip") if one.get("class") == "tip"]
    touching = [tip for tip in tips if float(tip[1:].split()[0]) == stock]
    assert len(touching) == len(classes(svg, "touch")) == 5


def test_a_deadlock_is_marked_with_all_who_wait() -> None:
    (circle,) = classes(diagram(samples.deadlock()), "circle")
    said = "".join(circle.itertext())
    assert said == "deadlock: w1 waits for w2, w2 waits for w3, w3 waits for w1"
    assert len(classes(circle, "circle-line")) == 3
    assert classes(diagram(samples.lost_update()), "circle") == []


def test_a_lease_that_runs_out_is_marked_across_all_lanes() -> None:
    svg = diagram(samples.lease_too_short())
    assert len(classes(svg, "passing")) == len(classes(svg, "ran-out")) == 1


def test_an_error_is_told_by_its_shape_and_not_by_colour_alone() -> None:
    assert len(classes(diagram(samples.deadlock()), "failed")) == 1
    assert len(classes(diagram(samples.lease_too_short()), "failed")) == 1


@pytest.mark.parametrize("sample", SAMPLES[:-1])
def test_the_diagram_fits_a_screen_of_1280_pixels_and_holds_all_it_shows(
    sample: Callable[[], Exploration],
) -> None:
    svg = diagram(sample())
    width, height = float(svg.get("width", "")), float(svg.get("height", ""))
    assert width <= 1200
    for one in svg.iter():
        assert 0 <= float(one.get("x", one.get("cx", 0))) <= width
        assert 0 <= float(one.get("y", one.get("cy", 0))) <= height
    for one in svg.iter(f"{SVG}text"):
        start, length = float(one.get("x", "")), 7.23 * len(one.text or "")
        if not {"source", "number"} & set(one.get("class", "").split()):
            assert start + length / (1 if start < 200 else 2) <= width + 1


def test_lanes_without_end_make_the_diagram_wider_and_stay_apart() -> None:
    told = samples.Told()
    for place in range(20):
        told.sql("w1", "SELECT", "", f"table_{place}")
    svg = diagram(samples.broken(told.run("x"), w1="buy"))
    xs = [float(one.get("d", "")[1:].split()[0]) for one in classes(svg, "lane")]
    assert min(b - a for a, b in zip(sorted(set(xs)), sorted(set(xs))[1:], strict=False)) >= 84


def test_every_schedule_is_counted_and_the_end_is_told() -> None:
    text = Page(as_html(samples.lost_update())).text
    facts = ["1,204", "1,167", "37", "12", "4.2 s"]
    assert all(fact in text for fact in facts)
    assert "the first schedule that failed ended the search" in text


def test_the_command_that_replays_it_can_be_copied() -> None:
    found = samples.lost_update()
    assert found.counterexample is not None
    html = as_html(found, "test_shop.py::test_buy[it's tea]")
    command = unescape(html.partition("<pre>")[2].partition("</pre>")[0])
    assert shlex.split(command) == [
        "pytest",
        "test_shop.py::test_buy[it's tea]",
        "--contention-replay",
        found.counterexample.schedule.token(),
    ]


def test_a_search_without_a_failure_has_no_run_to_show() -> None:
    page = Page(as_html(samples.legal()))
    assert "every schedule that matters was run, nothing was cut" in page.text
    assert "No run that broke the promise was found" in page.text
    assert "svg" not in {tag for tag, _ in page.tags}
