"""Run the benches of the engine, keep their figures, and draw the page that shows them.

``python bench/performance.py`` runs everything, which takes about a quarter of an hour and wants a
machine with nothing else to do; ``--draw`` makes table and picture anew from the figures kept in
``docs/explanation/performance.json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from _picture import Point, picture

BENCH: Final = Path(__file__).parent
PAGE: Final = BENCH.parent / "docs" / "explanation" / "performance.md"
FIGURES: Final = PAGE.with_suffix(".json")
PICTURE: Final = BENCH.parent / "docs" / "images" / "performance.svg"
BEGIN, END = "<!-- figures: made by bench/performance.py -->", "<!-- figures end -->"

#: What is run for which figures, and the arguments.
RUNS: Final = {
    "one_policy": ("bench_one_policy.py",),
    "hundred_thousand": (
        "bench_set_based.py",
        *("--policies", "100000", "--reference", "3000", "--processes", "1"),
    ),
    "regions": (
        "bench_set_based.py",
        *("--policies", "100000", "--reference", "0", "--processes", "1", "--regions", "1", "1000"),
    ),
    "million": (
        "bench_set_based.py",
        *("--policies", "1000000", "--reference", "0", "--processes", "1"),
    ),
    "processes": ("bench_two_processes.py",),
    "lease": ("bench_lease.py",),
}

Figures = dict[str, Any]


def run(script: str, *arguments: str) -> Any:  # noqa: ANN401 - whatever the bench reports
    """A bench's figures: the last line that it prints."""
    command = [sys.executable, str(BENCH / script), *arguments, "--json"]
    print("==", script, *arguments, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own benches
    *told, figures = done.stdout.splitlines()
    print("\n".join(told), flush=True)
    return json.loads(figures)


def machine() -> str:
    """What it was measured on, in words."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def points(figures: Figures) -> list[Point]:
    """What is compared, what was reached, and what was asked for."""
    many, one = figures["one_policy"]
    (chunks,) = figures["hundred_thousand"]
    hot, thousand = figures["regions"]
    (million,) = figures["million"]
    gain = figures["processes"]["chunks"]["gain"]
    hot_rate, hot_us = hot["processes_1"], hot["us_1"]
    return [
        Point("1 · one policy at a time ÷ reference", many["ratio"], 4, many["ratio_by_cpu"]),
        Point("1 · the same, one region", one["ratio"], 4, one["ratio_by_cpu"]),
        Point("2 · chunks ÷ reference", chunks["of_reference"], 60, chunks["of_reference_by_cpu"]),
        Point(
            "2 · chunks ÷ COPY of the same rows", chunks["of_copy"], 0.7, chunks["of_copy_by_cpu"]
        ),
        Point("2, 5 · two processes ÷ one, chunks", gain, 1.6),
        Point(
            "3 · one region ÷ 1,000 regions",
            hot_rate / thousand["processes_1"],
            0.9,
            thousand["us_1"] / hot_us,
        ),
        Point(
            "4 · 1,000,000 policies ÷ 100,000",
            million["processes_1"] / hot_rate,
            0.8,
            hot_us / million["us_1"],
        ),
        Point("4 · 500 MB ÷ the client's memory", 500 / million["peak_mb_1"], 1),
    ]


def table(figures: Figures) -> str:
    """Markdown: asked and reached."""
    where = f"Measured on {figures['date']}, {figures['machine']}"
    lines = [
        f"{where}; load before it began {figures['load']:.1f}.",
        "",
        "| | reached | asked | | by processor time |",
        "|---|---|---|---|---|",
    ]
    for point in points(figures):
        verdict = "reached" if point.reached >= point.asked else "**not reached**"
        by_cpu = "" if point.by_processor is None else f"{point.by_processor:,.2f}"
        lines.append(
            f"| {point.name} | {point.reached:,.2f} | {point.asked:g} | {verdict} | {by_cpu} |"
        )
    return "\n".join(lines)


def breakdown(figures: Figures) -> str:
    """Markdown: where the time of a claim goes."""
    lines = [
        "| a claim | client | PostgreSQL | Redis | log | flushes | cores busy | claims/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in ("one policy", "chunks"):
        for number, one in enumerate(figures["processes"][path]["processes"], 1):
            lines.append(
                f"| {path}, {number} process{'es' if number > 1 else ''} "
                f"| {one['client_us']:,.1f} µs | {one['postgres_us']:,.1f} µs "
                f"| {one['redis_us']:,.1f} µs | {one['log_bytes']:,.0f} B | {one['flushes']:.2f} "
                f"| {one['cores_used']:.2f} | {one['claims_a_second']:,.0f} |"
            )
    return "\n".join(lines)


def leases(figures: Figures) -> str:
    """Markdown: leases a second."""
    lines = [
        "| leases a second | redis-py | claimwright | bare protocol |",
        "|---|---|---|---|",
    ]
    for one in figures["lease"]:
        rates = (
            f"{one[name]:,.0f} ({one[f'{name}_ratio']:.2f})"
            for name in ("redis-py", "claimwright", "bare protocol")
        )
        lines.append(f"| {one['at_once']:.0f} at once | {' | '.join(rates)} |")
    return "\n".join(lines)


def draw(figures: Figures) -> None:
    """The picture, and the tables of the page."""
    PICTURE.write_text(picture(points(figures), figures), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n\n".join((table(figures), breakdown(figures), leases(figures)))
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run, or only draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="from the figures that are kept")
    parser.add_argument("--only", nargs="+", choices=RUNS, help="run these, keep the others")
    asked = parser.parse_args()
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    if not asked.draw:
        known |= {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "load": os.getloadavg()[0],
        }
        for name in asked.only or RUNS:
            known[name] = run(*RUNS[name])
        FIGURES.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    draw(known)


if __name__ == "__main__":
    main()
