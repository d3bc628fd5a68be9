"""`claimwright work`: what is asked for and still to do, and dead letters."""

from typing import Annotated

import typer

from claimwright.cli.options import PAGE, Limit, print_next_page
from claimwright.cli.output import AsJson, Whole, print_json, print_table, results
from claimwright.cli.running import run
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.words import counted
from claimwright.operations.manage_work import list_pending, try_again, try_all_dead_again
from claimwright.storage.listed_work import ListedWork

app = typer.Typer(
    name="work", help="Requests that are still to do, and dead letters.", no_args_is_help=True
)


@app.command("list")
def list_command(
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Dead letters alone.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Go on after this id.")] = 0,
    limit: Limit = PAGE,
    as_json: AsJson = False,
) -> None:
    """List what is asked for and still to do: of what, since when, and what came of it so far.

    A request waits until the relay hands it on, is handed on until a worker has done it, and is
    dead when every attempt failed.
    """
    found = run(lambda runtime: list_pending(runtime, dead_only=dead, after=after, limit=limit + 1))
    shown, cursor = found[:limit], None
    if len(found) > limit:
        cursor = str(shown[-1].id)
    if as_json:
        print_json({"requests": shown, "next": cursor})
        return
    if not shown:
        results.print("No dead letters." if dead else "Nothing is pending.")
        return
    columns = ("Id", "State", "Kind", "Of what", "Asked for (UTC)", "Attempts", "Why")
    print_table(counted(len(shown), "request"), columns, map(_row, shown), leaving=("Kind",))
    print_next_page(cursor)


@app.command("retry")
def retry_command(
    request_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Requests, dead or not.", min=1)
    ] = None,
    *,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead letter.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have requests tried again, with all their attempts before them.

    Exits with 3, and touches nothing, when one of them is not pending.
    """
    if bool(request_ids) is all_dead:
        raise InvalidInputError("name requests by their ids, or every dead letter by --all-dead")
    if request_ids:
        ids = sorted(set(request_ids))
        count = len(run(lambda runtime: try_again(runtime, ids)))
    else:
        count = run(try_all_dead_again)
    if as_json:
        print_json({"retried": count})
    else:
        results.print(f"{counted(count, 'request')} waiting to be handed on.")


def _row(work: ListedWork) -> tuple[object, ...]:
    return (
        work.id,
        Whole(work.state),
        work.kind,
        _of_what(work),
        Whole(f"{work.requested_at:%Y-%m-%d %H:%M:%S}"),
        work.attempts,
        work.failure,
    )


def _of_what(work: ListedWork) -> str:
    if work.policy_number is not None:
        return f"{work.product} {work.policy_number}"
    parts = [work.product, work.region, work.subject, str(work.day)]
    told = " ".join(part for part in parts if part)
    return f"{told}, {work.chunks_finished} of {work.chunks} chunks" if work.chunks else told
