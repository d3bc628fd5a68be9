"""Explorations as JSON."""

import json
import re
from pathlib import Path

from contention.model.schedules import Schedule
from contention.model.steps import Blocker
from contention.report.document import as_json, document

from . import samples

PAGE = Path(__file__).parents[4] / "docs/reference/contention-report.md"


def keys_of(value: object) -> set[str]:
    if isinstance(value, list):
        return {key for one in value for key in keys_of(one)}
    if not isinstance(value, dict):
        return set()
    return {*value, *(key for one in value.values() for key in keys_of(one))}


def test_the_document_is_as_version_1_has_it() -> None:
    told = samples.Told()
    told.sql("w1", "SELECT 1", "(1)", "stock", at="shop.py:1")
    told.sql("w2", "SELECT 2", "", "stock", blocked_by=(Blocker("w1", "row of stock", 1),))
    run = told.run("sold 2 of 1")
    found = samples.broken(run, w1="buy", w2="buy")
    found.notes.append("a note")
    step = {
        "number": 1,
        "actor": "w1",
        "lane": "w1/1",
        "link": "postgres",
        "text": "SELECT 1",
        "result": "(1)",
        "source": "shop.py:1",
        "is_blocked": False,
        "blocked_by": [],
        "answers": None,
        "touches": ["stock"],
    }
    waits = {
        "number": 2,
        "actor": "w2",
        "lane": "w2/1",
        "text": "SELECT 2",
        "result": "blocked",
        "source": "",
        "is_blocked": True,
        "blocked_by": [{"actor": "w1", "what": "row of stock", "since_step": 1}],
    }
    assert json.loads(as_json(found, "test_shop.py::test_buy")) == {
        "format": "contention-exploration",
        "version": 1,
        "title": "test_shop.py::test_buy",
        "verdict": {
            "kind": "illegal",
            "is_green": False,
            "preemptions": None,
            "reason": "sold 2 of 1",
        },
        "workers": {"w1": "buy", "w2": "buy"},
        "counts": {
            "schedules": 1204,
            "finished": 1167,
            "given_up": 37,
            "shrinking": 12,
            "beside": 4,
        },
        "seconds": 4.25,
        "end": "the first schedule that failed ended the search",
        "notes": ["a note"],
        "counterexample": {
            "token": run.schedule.token(),
            "choices": ["w1", "w2"],
            "switches": 1,
            "reason": "sold 2 of 1",
            "steps": [step, step | waits],
        },
        "stopped": None,
    }


def test_without_a_counterexample_there_is_none() -> None:
    assert document(samples.legal())["counterexample"] is None


def test_the_token_of_the_document_replays_the_schedule() -> None:
    found = samples.lease_too_short()
    assert found.counterexample is not None
    told = json.loads(as_json(found))["counterexample"]
    assert Schedule.from_token(told["token"]) == found.counterexample.schedule
    assert told["choices"] == [one.actor for one in found.counterexample.schedule.choices]


def test_any_text_survives_in_ascii() -> None:
    text = as_json(samples.nasty())
    assert text.isascii()
    assert json.loads(text)["counterexample"]["steps"][0]["text"] == samples.NASTY


def test_the_reference_names_every_key_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    shown = keys_of(document(samples.lost_update())) - {"w1", "w2"}
    assert named == shown
