"""Runs the programs under frontrun; started by `bench_explore` with the peer's own Python.

Prints one line of JSON a program. Its arguments are the servers' addresses and the seconds that a
program may take.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass

import frontrun  # type: ignore[import-not-found]  # only in the peer's environment
from _explore_programs import PROGRAMS, Program, prepare


@dataclass(frozen=True, slots=True)
class Addresses:
    """The same for every worker: the peer patches the drivers instead."""

    postgres_url: str
    redis_url: str


async def run(program: Program, links: Addresses, most_seconds: float) -> dict[str, object]:
    """One exhaustive search, stopped at the first failure or when its time runs out."""

    def start() -> Addresses:
        prepare(links)
        return links

    began = time.perf_counter()
    try:
        result = await frontrun.explore(
            setup=start,
            workers=program.worker,
            count=program.count,
            invariant=program.holds,
            detect_sql=True,
            preemption_bound=None,
            total_timeout=most_seconds,
            lock_timeout=2000,
        )
        verdict = "LEGAL" if result.property_holds else "ILLEGAL"
        runs = result.num_explored
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is its answer
        verdict, runs = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}", 0
    seconds = time.perf_counter() - began
    if seconds >= most_seconds and verdict == "LEGAL":
        verdict = "time ran out"
    return {"name": program.name, "verdict": verdict, "runs": runs, "seconds": seconds}


def main() -> None:
    """Run each program."""
    links, most_seconds = Addresses(*sys.argv[1:3]), float(sys.argv[3])
    for program in PROGRAMS:
        print(json.dumps(asyncio.run(run(program, links, most_seconds))), flush=True)


if __name__ == "__main__":
    main()
