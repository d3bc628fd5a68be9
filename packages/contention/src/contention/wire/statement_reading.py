"""What can be known of a request before it is answered: whether and how its touches show."""

from dataclasses import dataclass
from typing import Final

from contention.model.footprints import NOTHING, Footprint, Mode, Resource
from contention.wire.advisory_locks import AdvisoryCall
from contention.wire.plans import Shape
from contention.wire.postgres_messages import row_count
from contention.wire.postgres_requests import Execution, PostgresReply, PostgresRequest
from contention.wire.table_locks import presence
from contention.wire.transactions import Transaction

_POOL_RESET: Final = (
    "select pg_advisory_unlock_all()",
    "close all",
    "unlisten *",
    "reset all",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a request's touches show.

    Attributes:
        is_shown: whether its transaction's locks on tables tell them, once it is done.
        shape: what it touches, when it is one statement that the server could plan.
        parameters: its values, as SQL literals.
        call: the call for an advisory lock that it is.
        may_acquire: whether its waits have no limit, and end with the newest version.
    """

    is_shown: bool = False
    shape: Shape | None = None
    parameters: tuple[str, ...] = ()
    call: AdvisoryCall | None = None
    may_acquire: bool = False

    @property
    def tables(self) -> Footprint | None:
        """All that it can touch, mostly by tables; `None` when only locks tell."""
        if self.shape is None or not self.shape.is_whole:
            return None
        return self.shape.footprint(self.parameters)

    def row(self, transaction: Transaction) -> Resource | None:
        """The one row that it locks or changes; `None` when it may touch more.

        What a transaction has put into a table itself is not looked for by name: whoever waits for
        such a row has asked for one that was not there.
        """
        if not self.may_acquire or self.shape is None or self.shape.key is None:
            return None
        row = self.shape.key.resource(self.parameters)
        return None if row is None or transaction.has_staged(row.name) else row

    def of_waiting(self, transaction: Transaction) -> Footprint | None:
        """What it touches while it waits; `None` when only locks tell."""
        row = self.row(transaction)
        if row is None:
            return self.tables
        return self._of_row(row, Mode.HELD if row in transaction.held else Mode.ACQUIRE)

    def of_answered(
        self, transaction: Transaction, rows: int | None, *, has_waited: bool
    ) -> Footprint | None:
        """What it touched within a transaction; `None` when only locks tell.

        Args:
            transaction: as it was before; the row that it has now is noted in it.
            rows: how many it locked, changed or gave back; `None` when that is not known.
            has_waited: whether it had to wait.
        """
        row = self.row(transaction)
        if row is None or (row in transaction.held and rows is None):
            return self.tables
        if row in transaction.held:
            return self._of_row(row, Mode.HELD)
        if rows == 1:
            transaction.held.add(row)
            return self._of_row(row, Mode.HELD if has_waited else Mode.ACQUIRE)
        if rows == 0 and not has_waited:
            # There is no such row, so none is locked; who will make one shows it at the release.
            return Footprint(((row, Mode.READ), presence(row.name)))
        # What it waited for has changed, and it may have locked that all the same.
        return self.tables

    def of_alone(self, rows: int | None, *, has_waited: bool) -> Footprint | None:
        """What it touched as a transaction of its own; `None` when nothing tells."""
        transaction = Transaction()
        touched = self.of_answered(transaction, rows, has_waited=has_waited)
        if touched is None:
            return None
        transaction.add(touched)
        return touched.joined([transaction.end(is_commit=True)])

    def _of_row(self, row: Resource, mode: Mode) -> Footprint:
        looks = ((row, Mode.READ),) if self.shape and self.shape.has_filter else ()
        again = self.shape.again if self.shape and mode is Mode.HELD else NOTHING
        return Footprint(((row, mode), *looks, presence(row.name))).joined([again])


UNREADABLE: Final = Reading()
_UNFINISHED: Final = "…"


def single_execution(request: PostgresRequest) -> Execution | None:
    """The one statement that a request runs from its beginning to its end, if it is that."""
    letters = request.messages
    is_single = letters == "Q" or (letters.count("B") == letters.count("E") == 1)
    if not is_single or len(request.executions) != 1:
        return None
    execution = request.executions[0]
    return execution if execution.sql is not None and len(execution.statements) == 1 else None


def rows_told(reply: PostgresReply) -> int | None:
    """How many rows the one statement of a request was about, as far as it was asked for them.

    A driver that wants one row asks for no more, and is not told whether there are any.
    """
    if len(reply.results) != 1:
        return None
    result = reply.results[0]
    return (result.row_count or None) if result.tag == _UNFINISHED else row_count(result.tag)


def is_pool_reset(request: PostgresRequest) -> bool:
    """Whether it is what asyncpg's pool runs on a connection that is given back."""
    texts = [
        " ".join(statement.text.lower().split())
        for execution in request.executions
        for statement in execution.statements
    ]
    return tuple(texts) == _POOL_RESET
