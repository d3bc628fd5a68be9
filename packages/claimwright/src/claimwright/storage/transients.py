"""Which database errors go away when the transaction is done again."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

#: What a statement can raise, by SQLAlchemy or by the driver alone.
DATABASE_ERRORS: Final = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

#: SQLSTATEs after which a new transaction can succeed (PostgreSQL's appendix "Error Codes").
TRANSIENT_SQLSTATES: Final = frozenset(
    {
        "08000", "08001", "08003", "08004", "08006",  # the connection broke
        "23P01",  # the key: somebody else's layer came first; read again and decide again
        "25P03",  # idle in transaction for too long
        "40001", "40003", "40P01",  # serialization failure, unknown completion, deadlock
        "53300",  # too many connections
        "55P03",  # a lock was not available in time
        "57014",  # the statement took too long
        "57P01", "57P02", "57P03", "57P05",  # the server is shutting down, crashed or starting
    }
)  # fmt: skip


_IN_WORDS: Final = {
    "55P03": "somebody else kept locked what it needs",
    "57014": "a statement took too long",
    "40P01": "it was in a deadlock",
    "53300": "the server has no connection to spare",
}


def said_by_database(state: str) -> str:
    """What an SQLSTATE means to people, with the code itself."""
    words = _IN_WORDS.get(state)
    return f"{words} ({state})" if words else f"the database said {state}"


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE behind an error; ``08006`` for a connection that broke without one."""
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    if state:
        return str(state)
    if isinstance(error, InterfaceError | OperationalError):
        return "08006"
    if isinstance(error, DBAPIError):
        return "08006" if error.connection_invalidated else None
    if isinstance(error, asyncpg.InterfaceError):
        return "08003" if "connection is closed" in str(error) else None
    return "08001" if isinstance(error, OSError) else None


def is_unfit_value(error: BaseException) -> bool:
    """Whether a value that was sent is none of its type, such as text with a NUL.

    The driver finds some of them itself, as a ValueError, and the server the others.
    """
    if not isinstance(error, DBAPIError):
        return False
    found_by_driver = isinstance(getattr(error.orig, "__cause__", None), ValueError)
    return found_by_driver or (sqlstate_of(error) or "").startswith("22")


def is_transient(error: BaseException) -> bool:
    """Whether doing the transaction again can help.

    It does where the driver has prepared a statement before the schema changed: it knows now.
    """
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, asyncpg.InvalidCachedStatementError):
        return True
    return sqlstate_of(error) in TRANSIENT_SQLSTATES
