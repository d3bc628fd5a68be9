"""What toy workers ask of the toy database: one request, one step."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Read:
    """SELECT by key: what is committed."""

    row: int


@dataclass(frozen=True, slots=True)
class ReadAll:
    """SELECT of the whole table."""


@dataclass(frozen=True, slots=True)
class Lock:
    """SELECT by key FOR UPDATE: waits, then has the newest version; by its id or its name."""

    row: int
    by: str = "t_pkey"


@dataclass(frozen=True, slots=True)
class TryLock:
    """SELECT by key FOR UPDATE NOWAIT: refused at once while another has it."""

    row: int


@dataclass(frozen=True, slots=True)
class Write:
    """UPDATE by key to what was read last, and one more."""

    row: int


@dataclass(frozen=True, slots=True)
class Add:
    """UPDATE by key, relative to the newest version; by its id or its name."""

    row: int
    by: str = "t_pkey"


@dataclass(frozen=True, slots=True)
class AddInTime:
    """As `Add`, but the wait may end at any moment by its limit, and the transaction with it."""

    row: int


@dataclass(frozen=True, slots=True)
class AddAll:
    """UPDATE of every row, one lock after the other."""


@dataclass(frozen=True, slots=True)
class WriteSum:
    """UPDATE by key to a sum over the table, from a snapshot taken before any wait."""

    row: int


@dataclass(frozen=True, slots=True)
class AddAlone:
    """UPDATE by key in a transaction of its own, of whose touches nothing is known."""

    row: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A transaction at REPEATABLE READ begins: it sees the state of now until its end."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction's end."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """The transaction's end, and nothing of it stays."""


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key to what was read last, and one more."""

    key: str


@dataclass(frozen=True, slots=True)
class Take:
    """Poll until the key is one's own; with a time-out it may run out."""

    key: str
    is_lease: bool = False


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Delete the key if it is one's own."""

    key: str


Request = (
    Read
    | ReadAll
    | Lock
    | TryLock
    | Write
    | Add
    | AddInTime
    | AddAll
    | WriteSum
    | AddAlone
    | Snapshot
    | Commit
    | Rollback
    | Get
    | Put
    | Take
    | GiveBack
)
Programs = Sequence[Sequence[Request]]
