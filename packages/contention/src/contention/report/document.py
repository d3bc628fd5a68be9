"""What was found as one JSON document for machines.

The keys of a version never change their meaning; a version may gain keys.
"""

import json
from typing import Final

from contention.model.steps import Run, Step
from contention.search.exploration import Exploration

FORMAT: Final = "contention-exploration"
VERSION: Final = 1


def as_json(exploration: Exploration, title: str = "") -> str:
    """The document as text of ASCII alone, which ends with a line's end."""
    return json.dumps(document(exploration, title), indent=2) + "\n"


def document(exploration: Exploration, title: str = "") -> dict[str, object]:
    """The document; `docs/reference/contention-report.md` says what each key means."""
    verdict, run = exploration.verdict, exploration.counterexample
    return {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "verdict": {
            "kind": verdict.kind.value,
            "is_green": verdict.is_green,
            "preemptions": verdict.preemptions,
            "reason": verdict.reason,
        },
        "workers": dict(exploration.workers),
        "counts": {
            "schedules": exploration.schedules,
            "finished": exploration.finished,
            "given_up": exploration.given_up,
            "shrinking": exploration.shrinking,
            "beside": exploration.beside,
        },
        "seconds": round(exploration.seconds, 3),
        "end": exploration.end(),
        "notes": list(exploration.notes),
        "counterexample": None if run is None else _run(run),
        "stopped": None if exploration.stopped is None else _run(exploration.stopped),
    }


def _run(run: Run) -> dict[str, object]:
    return {
        "token": run.schedule.token(),
        "choices": [choice.actor for choice in run.schedule.choices],
        "switches": run.schedule.switches,
        "reason": run.reason,
        "steps": [_step(step) for step in run.steps],
    }


def _step(step: Step) -> dict[str, object]:
    return {
        "number": step.number,
        "actor": step.actor,
        "lane": step.lane,
        "link": step.link.value,
        "text": step.text,
        "result": step.result,
        "source": step.source,
        "is_blocked": step.is_blocked,
        "blocked_by": [
            {"actor": blocker.actor, "what": blocker.what, "since_step": blocker.since_step}
            for blocker in step.blocked_by
        ],
        "answers": step.answers,
        "touches": list(step.touches),
    }
