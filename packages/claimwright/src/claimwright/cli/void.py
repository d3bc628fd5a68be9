"""`claimwright claims void`: a claim that should not have been paid."""

from typing import Annotated

import typer

from claimwright.cli.output import AsJson, print_json, results
from claimwright.cli.running import run
from claimwright.domain.references import parse_claim_reference
from claimwright.operations.void import Voided, VoidRequest, void_claim
from claimwright.runtime import Runtime


def void(
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="The claim, such as 1041-88.")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    actor: Annotated[str, typer.Option(help="Who says so, for the record.")],
    as_json: AsJson = False,
) -> None:
    """Make a claim void: its event no longer pays this policy, for ever.

    The layers above it in its benefit period become void with it. What their own events are
    still worth comes back with the next `claimwright calculate`.
    """
    request = VoidRequest(*parse_claim_reference(reference), reason=reason, actor=actor)

    async def operation(runtime: Runtime) -> Voided:
        async with runtime.sessions() as session:
            return await void_claim(session, request)

    voided = run(operation)
    if as_json:
        print_json(voided)
        return
    results.print(
        f"Void: {', '.join(voided.layers)}. Event {voided.withdrawn_event_id} no longer pays "
        "this policy. Run `claimwright calculate` for what other events are still worth."
    )
