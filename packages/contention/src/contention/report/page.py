"""What was found as one page that needs nothing else: no script, no font, no address."""

import base64
import hashlib
import shlex
from collections.abc import Iterator
from typing import Final

from contention.model.steps import Run, Step
from contention.model.verdicts import VerdictKind
from contention.report.diagram import as_svg, has_failed
from contention.report.markup import Markup, element, joined, text
from contention.report.style import STYLE
from contention.search.exploration import Exploration
from contention.search.story import listed, names_of

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
_COLUMNS: Final = (
    ("narrow", "step"),
    ("actor", "worker"),
    ("request", "request"),
    ("result", "result"),
    ("touches", "touches"),
    ("source", "asked at"),
)


def as_html(exploration: Exploration, title: str = "") -> str:
    """The page.

    Args:
        exploration: what was found.
        title: what was explored, as a test's name that pytest knows.
    """
    name = title or listed(exploration.workers.items())
    body = element(
        "body",
        *_head(exploration, name),
        *_search(exploration, title),
        *_run(exploration),
    )
    return f"<!doctype html>\n{element('html', _meta(exploration, name), body, lang='en')}\n"


def _meta(exploration: Exploration, name: str) -> Markup:
    return element(
        "head",
        Markup('<meta charset="utf-8">\n'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'),
        Markup('<meta name="viewport" content="width=device-width">\n'),
        element("title", text(f"{_word(exploration)}: {name}")),
        element("style", Markup(STYLE)),
    )


def _word(exploration: Exploration) -> str:
    """The verdict without its reason."""
    return str(exploration.verdict).partition(":")[0]


def _head(exploration: Exploration, name: str) -> Iterator[Markup]:
    verdict = exploration.verdict
    kind = VerdictKind.LEGAL if verdict.is_green else verdict.kind
    yield element("h1", text("Every order of events"))
    yield element("p", text(name), class_="title")
    yield element(
        "div",
        element("b", text(_word(exploration))),
        element("p", text(verdict.reason or exploration.end()), class_="reason"),
        class_=f"verdict {kind.value}",
    )


def _search(exploration: Exploration, test: str) -> Iterator[Markup]:
    facts = [
        ("workers", listed(exploration.workers.items())),
        ("schedules", f"{exploration.schedules:,}"),
        ("… run to the end", f"{exploration.finished:,}"),
        ("… given up early as known", f"{exploration.given_up:,}"),
        ("more, to shorten the failure", f"{exploration.shrinking:,}"),
        ("more, to rehearse, repeat and compare", f"{exploration.beside:,}"),
        ("time", f"{exploration.seconds:.1f} s"),
        ("end of the search", exploration.end()),
        *(("note", note) for note in exploration.notes),
    ]
    rows = [(name, text(value)) for name, value in facts]
    if exploration.shown is not None:
        rows.append(("run it again", joined(_replay(exploration.shown, test))))
    yield element("h2", text("What was run"))
    yield element(
        "dl",
        *(joined((element("dt", text(name)), element("dd", value))) for name, value in rows),
    )


def _replay(run: Run, test: str) -> Iterator[Markup]:
    """How to run a schedule again, as a command line and in a script."""
    token = run.schedule.token()
    words = ["pytest", *([test] if test else []), "--contention-replay", token]
    script = (
        "from contention.model.schedules import Schedule\n"
        "from contention.schedulers.replay import ReplayScheduler\n\n"
        f'scheduler = ReplayScheduler(Schedule.from_token("{token}"))\n'
        "await explore(…, scheduler=scheduler)"
    )
    yield element("pre", text(shlex.join(words)))
    yield element("details", element("summary", text("in a script")), element("pre", text(script)))


def _run(exploration: Exploration) -> Iterator[Markup]:
    run = exploration.shown
    yield element("h2", text("What happened"), id="run")
    if run is None or not run.steps:
        yield element(
            "p", text("No run that broke the promise was found, so there is none to show.")
        )
        return
    if run.reason and run.reason != exploration.verdict.reason:
        yield element("p", text(run.reason), class_="reason")
    yield element("a", text("Go to the table of steps"), href="#steps", class_="skip")
    yield _legend()
    yield element(
        "div",
        as_svg(run, exploration.workers),
        class_="scroll",
        role="region",
        tabindex=0,
        aria_label="sequence diagram",
    )
    yield element("h2", text("Every step in full"), id="steps")
    yield _table(run)


def _legend() -> Markup:
    signs = [
        (Markup('<circle class="mark c0" cx="10" cy="9" r="5.5"/>'), 20, "answered"),
        (
            Markup('<path class="mark failed" d="M5 4L15 14M15 4L5 14"/>'),
            20,
            "answered with an error",
        ),
        (
            Markup(
                '<rect class="wait" x="3" y="5" width="34" height="8" rx="3"/>'
                '<circle class="mark blocked" cx="8" cy="9" r="5.5"/>'
            ),
            40,
            "waits until it is answered",
        ),
        (
            Markup(
                '<g class="c0"><path class="touch" d="M2 9H34"/>'
                '<path class="tip" d="M38 9L30 5V13Z"/></g>'
            ),
            40,
            "touches a table or key",
        ),
        (
            Markup(
                '<g class="waits-for"><path d="M2 9H34"/><path class="tip" d="M38 9L30 5V13Z"/></g>'
            ),
            40,
            "waits for a worker",
        ),
        (
            Markup(
                '<path class="passing" d="M2 9H38"/><circle class="ran-out" cx="20" cy="9" r="7"/>'
            ),
            40,
            "time passes, a time-out fires",
        ),
    ]
    return element(
        "ul",
        *(
            element(
                "li",
                element("svg", sign, width=width, height=18, aria_hidden="true"),
                text(meaning),
            )
            for sign, width, meaning in signs
        ),
        class_="legend",
    )


def _table(run: Run) -> Markup:
    heads = (element("th", text(name), scope="col", class_=kind) for kind, name in _COLUMNS)
    names = names_of(run.steps)
    lines = (_line(step, name) for step, name in zip(run.steps, names, strict=True))
    return element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", joined(lines)),
    )


def _line(step: Step, name: str) -> Markup:
    kind = "blocked" if step.is_blocked else "failed" if has_failed(step) else None
    return element(
        "tr",
        element("th", _link(f"#row-{step.number}", str(step.number)), scope="row"),
        element("td", text(name)),
        element("td", *_request(step)),
        element("td", *_result(step), class_=kind),
        element("td", text("\n".join(step.touches))),
        element("td", text(step.source)),
        id=f"step-{step.number}",
    )


def _request(step: Step) -> Iterator[Markup]:
    if step.answers is not None:
        yield text("answer to ")
        yield _link(f"#step-{step.answers}", f"step {step.answers}")
        yield text("\n")
    yield text(step.text)


def _result(step: Step) -> Iterator[Markup]:
    if not step.is_blocked:
        yield text(step.result)
    for place, blocker in enumerate(step.blocked_by):
        yield text("\n" if place else "BLOCKED by ")
        if blocker.since_step is None:
            yield text(str(blocker))
        else:
            yield _link(f"#step-{blocker.since_step}", str(blocker))


def _link(target: str, shown: str) -> Markup:
    return element("a", text(shown), href=target)
