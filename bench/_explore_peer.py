"""Runs one program under frontrun; started by `bench_explore` with the peer's own Python.

Prints one line of JSON. Its arguments are the servers' addresses, the seconds that the search may
take, and the program's number.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass

import frontrun  # type: ignore[import-not-found]  # only in the peer's environment
import psycopg
from _explore_programs import PROGRAMS, Program, prepare

VERDICTS = {True: "LEGAL", False: "ILLEGAL", None: "UNKNOWN"}
WAIT_SECONDS = 10.0
RUN_SECONDS = 20.0
"""More than the peer's own limits: what breaks in a run that it gives up, it takes for a bug."""
OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The same for every worker: the peer patches the drivers instead."""

    postgres_url: str
    redis_url: str


async def run(program: Program, links: Addresses, most_seconds: float) -> dict[str, object]:
    """One exhaustive search, stopped at the first failure or when its time runs out."""

    def start() -> Addresses:
        cut_off_all(links)
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
            timeout_per_run=RUN_SECONDS,
            deadlock_timeout=WAIT_SECONDS,
            reproduce_on_failure=0,
        )
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is its answer
        verdict, runs, why = "ERROR", 0, f"{type(error).__name__}: {error}"
    else:
        verdict, runs = VERDICTS[result.property_holds], result.num_explored
        why = result.inconclusive_reason or result.explanation or ""
    seconds = time.perf_counter() - began
    words = next(iter(why.strip().splitlines()), "")
    return {
        "name": program.name,
        "verdict": verdict,
        "runs": runs,
        "seconds": seconds,
        "words": "" if verdict == "LEGAL" else words,
    }


def cut_off_all(links: Addresses) -> None:
    """End the connections that runs have left open: one in a transaction would keep its tables."""
    with psycopg.connect(links.postgres_url, autocommit=True) as connection:
        connection.execute(OTHERS)


def main() -> None:
    """Run the program."""
    links, most_seconds = Addresses(*sys.argv[1:3]), float(sys.argv[3])
    program = PROGRAMS[int(sys.argv[4])]

    async def tell() -> None:
        print(json.dumps(await run(program, links, most_seconds)), flush=True)
        os._exit(0)  # tasks that the peer has given up may never end

    asyncio.run(tell())


if __name__ == "__main__":
    main()
