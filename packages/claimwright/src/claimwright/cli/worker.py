"""`claimwright worker` and `claimwright beat`: do what is asked for, and hand it on."""

import asyncio
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer

from claimwright.cli.exits import Exit
from claimwright.cli.running import check_schema, run, servers_of
from claimwright.settings import load_settings


class Pool(StrEnum):
    """How a worker runs several tasks at once."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


class LogLevel(StrEnum):
    """What is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Serve Prometheus metrics at this port; default: not."),
]
MetricsHost = Annotated[str, typer.Option(help="The address metrics are served at.")]
Level = Annotated[LogLevel, typer.Option("--log-level", help="Write this and what is worse.")]


def worker(
    *,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=1_000, help="Tasks under way at once; default: one a CPU."),
    ] = None,
    pool: Annotated[
        Pool,
        typer.Option(help="Processes (which alone can be killed at the time limit), or threads."),
    ] = Pool.PREFORK,
    relay: Annotated[
        bool, typer.Option("--relay", help="Run a relay beside it, in place of `claimwright beat`.")
    ] = False,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    log_level: Level = LogLevel.INFO,
) -> None:
    """Do what is asked for: evaluate readings, and calculate policies chunk by chunk.

    Any number of workers on any number of machines share the work. SIGTERM and Ctrl-C let the
    tasks under way end; a second Ctrl-C ends them. Nothing is lost or paid twice by either, or by
    a worker that is killed. Somewhere a relay has to run: `claimwright beat`, or --relay.
    """
    from claimwright.worker import running  # noqa: PLC0415 - no other command loads Celery

    if metrics_port is not None:
        running.share_metrics_between_processes()
    settings = load_settings()
    with servers_of(settings) as addresses, ExitStack() as stack:
        asyncio.run(check_schema(settings, addresses))
        stack.enter_context(running.metrics_served(metrics_host, metrics_port))
        if relay:
            stack.enter_context(running.relay_beside())
        ended_well = running.run_worker(pool.value, concurrency, log_level.name)
    raise typer.Exit(Exit.DONE if ended_well else Exit.UNFINISHED)


def beat(
    *,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    log_level: Level = LogLevel.INFO,
) -> None:
    """Hand on what is asked for to the workers, and hand on again what got stuck.

    This is the relay and the sweeper, and not Celery's beat: no schedule, and nothing that the
    broker could lose. It needs PostgreSQL and waits for a broker that is away. One of it is
    enough; any number may run. It ends with 0 on SIGTERM.
    """
    from claimwright.worker import running  # noqa: PLC0415 - no other command loads Celery

    running.write_to_standard_error(load_settings(), log_level.name)
    with running.metrics_served(metrics_host, metrics_port):
        run(running.run_relay)
