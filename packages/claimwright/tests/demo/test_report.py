"""The report: complete, and in one file."""

import json
import re
from html.parser import HTMLParser

import pytest

from claimwright.demo.portfolio import STATIONS
from support.demo import EndedDemo

_LOADING = {"src", "href", "srcset", "data", "poster", "action", "background", "xlink:href"}
_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a page loads, its ids, its scripts and styles, and whether its elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.within: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.loaded += [value for name, value in values.items() if name in _LOADING]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in _VOID:
            self.within.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.within.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.within.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.within:
            self.texts.setdefault(self.within[-1], []).append(data)


@pytest.fixture(scope="module")
def text(small_demo: EndedDemo) -> str:
    return (small_demo.output / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    return page


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.within == []
    assert len(page.ids) == len(set(page.ids))


def test_the_page_loads_nothing_and_forbids_loading(page: Page, text: str) -> None:
    assert page.loaded == []
    assert not re.search(r"@import|url\(", "".join(page.texts["style"]))
    assert "default-src 'none'" in text


def test_the_page_holds_the_library_of_its_charts_once(text: str) -> None:
    assert text.count("plotly.js v") == 1
    assert 4_000_000 < len(text.encode()) < 6_000_000


def test_each_station_has_a_chart_of_rain_and_one_of_wind(page: Page) -> None:
    charts = {f"year-{product}-{at}" for product in ("nyc-rain", "nyc-wind") for at in STATIONS}
    assert charts | {"hours-2013-06-07"} <= set(page.ids)
    figures = json.loads(page.texts["script"][0])
    assert set(figures) == charts | {"hours-2013-06-07"}
    bars = figures["year-nyc-rain-LGA"]["data"][0]
    assert dict(zip(bars["x"], bars["y"], strict=True))["2013-06-08"] == "1"


def test_the_hours_of_june_7_cross_the_three_thresholds_at_each_station(page: Page) -> None:
    figure = json.loads(page.texts["script"][0])["hours-2013-06-07"]
    crossings = {
        trace["name"]: trace["x"] for trace in figure["data"] if trace["mode"] == "markers"
    }
    assert crossings["EWR tiers"] == ["2013-06-07 09:00", "2013-06-07 16:00", "2013-06-07 21:00"]
    assert {len(instants) for instants in crossings.values()} == {3}


def test_the_page_says_the_verdict_and_who_made_the_claims(
    page: Page, small_demo: EndedDemo
) -> None:
    words = " ".join(" ".join(texts) for tag, texts in page.texts.items() if tag != "script")
    facts = small_demo.facts
    assert "everything that is due is paid once" in words
    for name, run in zip(("First", "Second"), facts["race"], strict=True):
        assert (f"{name}: {run['claims']:,}" in words) == (run["claims"] > 0)
    assert "1048.36 mph" in words
