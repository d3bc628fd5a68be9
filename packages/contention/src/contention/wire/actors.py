"""The workers of a run, as the stage sees them, and what they ask in words."""

from dataclasses import dataclass, field
from typing import Final

from contention.wire.gate import Lane, Reply, Request
from contention.wire.held_names import HeldNames
from contention.wire.polls import PollMemory
from contention.wire.postgres_requests import RequestKind, Result
from contention.wire.postgres_sql import Verb
from contention.wire.redis_commands import RedisKind
from contention.wire.redis_requests import RedisReply, RedisRequest
from contention.wire.workers import Worker

LATE_SECONDS: Final = 3600.0
"""Longer than whoever polls for a lock is patient."""
_PASSING_VERBS: Final = frozenset(
    {Verb.BEGIN, Verb.SET, Verb.SAVEPOINT, Verb.RELEASE, Verb.INTROSPECTION}
)
_PASSING_KINDS: Final = frozenset(
    {RequestKind.PREPARATION, RequestKind.INTROSPECTION, RequestKind.COPY_DATA}
)
_REDIS_STEPS: Final = frozenset({RedisKind.DATA, RedisKind.SUBSCRIPTION})


@dataclass(slots=True)
class Actor:
    """One worker on the stage.

    Attributes:
        polls: what it asked lately.
        is_late: whether much time has passed by the moment when it sleeps next.
    """

    name: str
    worker: Worker
    lanes: list[Lane] = field(default_factory=list)
    polls: PollMemory = field(default_factory=PollMemory)
    is_late: bool = False
    _names: HeldNames = field(init=False)

    def __post_init__(self) -> None:
        self._names = HeldNames(self.name)

    @property
    def has_ended(self) -> bool:
        """Whether it has returned, raised or been stopped."""
        return self.worker.has_ended

    @property
    def is_at_rest(self) -> bool:
        """Whether it asks, waits or has ended; otherwise it computes, sleeps or does nothing."""
        return self.has_ended or any(
            lane.held is not None or lane.is_awaiting_reply for lane in self.lanes
        )

    @property
    def holding(self) -> Lane | None:
        """A lane whose request can go on."""
        return next((lane for lane in self.lanes if lane.held is not None), None)

    def options(self) -> dict[str, Lane]:
        """The lanes whose requests can go on, by what they are called.

        Of a worker that goes on by itself one at a time is offered.
        """
        if self.worker.is_elsewhere:
            return {self.name: self.holding} if self.holding else {}
        held = {lane.number: lane for lane in self.lanes if lane.held is not None}
        numbers = {
            number: lane.held.number for number, lane in held.items() if lane.held is not None
        }
        return {name: held[number] for name, number in self._names.of(numbers).items()}

    @property
    def is_crowded(self) -> bool:
        """Whether it goes on by itself, and asks for more than one thing at a time."""
        return self.worker.is_elsewhere and sum(one.held is not None for one in self.lanes) > 1

    @property
    def waiting(self) -> list[Lane]:
        """The lanes whose request has gone on and has no reply."""
        return [lane for lane in self.lanes if lane.is_awaiting_reply]

    @property
    def is_parked(self) -> bool:
        """Whether the request at hand would get the answer again that the same one just got."""
        holding = [lane for lane in self.lanes if lane.held is not None]
        held = holding[0].held if len(holding) == 1 or self.is_crowded else None
        return held is not None and self.polls.is_repeated_by(text_of(held))

    def wake(self) -> bool:
        """Let time pass for it, if it sleeps in a time that is the kit's to move."""
        later, self.is_late = (LATE_SECONDS if self.is_late else 0.0), False
        return self.worker.wake(later)


def text_of(request: Request) -> str:
    """The request in words: SQL with its values, or the command."""
    if isinstance(request, RedisRequest):
        return request.text
    parts = []
    for execution in request.executions:
        values = execution.parameters()
        parts.append((execution.sql or "…") + (f"  -- {', '.join(values)}" if values else ""))
    return "; ".join(parts) or "; ".join(request.texts)


def is_step(request: Request) -> bool:
    """Whether a request is one of the scheduler's points; the others pass at once."""
    if isinstance(request, RedisRequest):
        return request.kind in _REDIS_STEPS
    if request.kind in _PASSING_KINDS:
        return False
    return any(verb not in _PASSING_VERBS for verb in request.verbs)


def result_of(reply: Reply) -> str:
    """A reply in a few words."""
    if isinstance(reply, RedisReply):
        return reply.text
    if reply.error is not None:
        return f"{reply.error.severity} {reply.error.sqlstate}: {reply.error.message}"
    return "; ".join(map(_result, reply.results)) or "done"


def has_failed(reply: Reply) -> bool:
    """Whether the server refused the request."""
    return reply.error is not None


def _result(result: Result) -> str:
    rows = ", ".join(f"({', '.join(row)})" for row in result.rows())
    more = " …" if result.row_count > len(result.sample) else ""
    return f"{rows}{more}" if rows else result.tag
