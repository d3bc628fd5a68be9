"""The life cycle of a PostgreSQL connection as tables: state, message, next state.

Messages are named by their type byte (PostgreSQL documentation, chapter 54.7); a start-up packet
has none and is named in words. What a table does not have is an `UnknownMessage`.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

CLIENT_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "B": "Bind",
        "C": "Close",
        "D": "Describe",
        "E": "Execute",
        "F": "FunctionCall",
        "H": "Flush",
        "P": "Parse",
        "Q": "Query",
        "S": "Sync",
        "X": "Terminate",
        "c": "CopyDone",
        "d": "CopyData",
        "f": "CopyFail",
        "p": "password or SASL response",
    }
)
SERVER_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "1": "ParseComplete",
        "2": "BindComplete",
        "3": "CloseComplete",
        "A": "NotificationResponse",
        "C": "CommandComplete",
        "D": "DataRow",
        "E": "ErrorResponse",
        "G": "CopyInResponse",
        "H": "CopyOutResponse",
        "I": "EmptyQueryResponse",
        "K": "BackendKeyData",
        "N": "NoticeResponse",
        "R": "Authentication",
        "S": "ParameterStatus",
        "T": "RowDescription",
        "V": "FunctionCallResponse",
        "W": "CopyBothResponse",
        "Z": "ReadyForQuery",
        "c": "CopyDone",
        "d": "CopyData",
        "n": "NoData",
        "s": "PortalSuspended",
        "t": "ParameterDescription",
        "v": "NegotiateProtocolVersion",
    }
)


class ClientState(StrEnum):
    """What the client has sent so far, seen from the gate."""

    STARTING = "starting up"
    LOG_IN = "logging in"
    BETWEEN = "between requests"
    RUN = "inside a run of extended messages"
    COPYING = "sending copy data"
    CLOSED = "closed"


FOR_EXECUTE = "+"
"""Marks copy messages of a COPY that an Execute began; their run goes on to Sync or Flush."""

COPY_IS_OVER = "ErrorResponse of the server"
"""No message of the client: a server that has ended the copy lets the client go on at once."""

_C = ClientState
_COPY_FOR_EXECUTE = dict.fromkeys([letter + FOR_EXECUTE for letter in "dcf"], _C.RUN)
_IN_A_RUN = {
    **dict.fromkeys("PBDEC", _C.RUN),
    **_COPY_FOR_EXECUTE,
    **dict.fromkeys("SHQF", _C.BETWEEN),
    "X": _C.CLOSED,
}
_ANYTHING = {**_IN_A_RUN, "d": _C.COPYING, "c": _C.BETWEEN, "f": _C.BETWEEN}
CLIENT_TABLE: Mapping[ClientState, Mapping[str, ClientState]] = MappingProxyType(
    {
        _C.STARTING: {
            "SSLRequest": _C.STARTING,
            "GSSENCRequest": _C.STARTING,
            "CancelRequest": _C.CLOSED,
            "StartupMessage": _C.LOG_IN,
        },
        _C.LOG_IN: {**_ANYTHING, "p": _C.LOG_IN},
        _C.BETWEEN: _ANYTHING,
        _C.RUN: _IN_A_RUN,
        _C.COPYING: {
            "d": _C.COPYING,
            "c": _C.BETWEEN,
            "f": _C.BETWEEN,
            "X": _C.CLOSED,
            COPY_IS_OVER: _C.BETWEEN,
        },
        _C.CLOSED: {},
    }
)
"""A state is left for BETWEEN where the client waits: that ends a request."""


class ReplyState(StrEnum):
    """What the server has to say next; the last group stands while nothing is being answered."""

    PARSE = "answering Parse"
    BIND = "answering Bind"
    CLOSE = "answering Close"
    DESCRIBE_STATEMENT = "answering Describe of a statement"
    DESCRIBE_ROWS = "answering Describe of rows"
    EXECUTE = "answering Execute"
    EXECUTE_COPY_OUT = "copying out for Execute"
    QUERY = "answering Query"
    QUERY_COPY_OUT = "copying out for Query"
    COPY_BOTH_END = "ending a two-way copy"
    FUNCTION = "answering FunctionCall"
    SYNC = "answering Sync"

    DONE = "done"
    COPY_IN = "waiting for the client's copy data"
    COPY_BOTH = "copying both ways"

    LOG_IN = "logging in"
    IDLE = "waiting for a request"
    ABANDONED = "skipping everything up to Sync"


_R = ReplyState
_COPIES = {"G": _R.COPY_IN, "W": _R.COPY_BOTH}
REPLY_TABLE: Mapping[ReplyState, Mapping[str, ReplyState]] = MappingProxyType(
    {
        _R.PARSE: {"1": _R.DONE, "E": _R.ABANDONED},
        _R.BIND: {"2": _R.DONE, "E": _R.ABANDONED},
        _R.CLOSE: {"3": _R.DONE, "E": _R.ABANDONED},
        _R.DESCRIBE_STATEMENT: {"t": _R.DESCRIBE_ROWS, "E": _R.ABANDONED},
        _R.DESCRIBE_ROWS: {"T": _R.DONE, "n": _R.DONE, "E": _R.ABANDONED},
        _R.EXECUTE: {
            "D": _R.EXECUTE,
            "C": _R.DONE,
            "I": _R.DONE,
            "s": _R.DONE,
            "H": _R.EXECUTE_COPY_OUT,
            **_COPIES,
            "E": _R.ABANDONED,
        },
        _R.EXECUTE_COPY_OUT: {
            "d": _R.EXECUTE_COPY_OUT,
            "c": _R.EXECUTE,
            "E": _R.ABANDONED,
        },
        _R.QUERY: {
            "T": _R.QUERY,
            "D": _R.QUERY,
            "C": _R.QUERY,
            "I": _R.QUERY,
            "E": _R.QUERY,
            "H": _R.QUERY_COPY_OUT,
            **_COPIES,
            "Z": _R.DONE,
        },
        _R.QUERY_COPY_OUT: {"d": _R.QUERY_COPY_OUT, "c": _R.QUERY, "E": _R.QUERY},
        _R.COPY_BOTH_END: {
            "d": _R.COPY_BOTH_END,
            "c": _R.COPY_BOTH_END,
            "T": _R.COPY_BOTH_END,
            "D": _R.COPY_BOTH_END,
            "C": _R.COPY_BOTH_END,
            "E": _R.COPY_BOTH_END,
            "Z": _R.DONE,
        },
        _R.FUNCTION: {"V": _R.FUNCTION, "E": _R.FUNCTION, "Z": _R.DONE},
        _R.SYNC: {"E": _R.SYNC, "Z": _R.DONE},
        # While nothing is being answered:
        _R.LOG_IN: {
            "R": _R.LOG_IN,
            "v": _R.LOG_IN,
            "K": _R.LOG_IN,
            "E": _R.LOG_IN,
            "Z": _R.IDLE,
        },
        _R.IDLE: {"E": _R.IDLE},
        _R.ABANDONED: {"E": _R.ABANDONED},
        # A time-out may end a copy while the client thinks.
        _R.COPY_IN: {"E": _R.ABANDONED},
        _R.COPY_BOTH: {"d": _R.COPY_BOTH, "c": _R.COPY_BOTH, "E": _R.ABANDONED},
    }
)
ANY_TIME = frozenset("ANS")
"""NotificationResponse, NoticeResponse and ParameterStatus may stand between any two messages."""
