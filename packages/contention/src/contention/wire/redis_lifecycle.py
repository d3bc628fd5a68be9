"""The life cycle of a Redis connection as tables: state, message, next state.

The client's messages are named commands, and `OTHER` for all that have no row of their own. What
a table does not have cannot pass a gate.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

OTHER = "any other command"
REPLY_ON, REPLY_OFF, REPLY_SKIP = "CLIENT REPLY ON", "CLIENT REPLY OFF", "CLIENT REPLY SKIP"
SUBSCRIPTIONS = frozenset(
    {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"}
)
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "MONITOR": "it turns the connection into an endless stream without replies",
        "SYNC": "it turns the connection into a replication stream",
        "PSYNC": "it turns the connection into a replication stream",
    }
)
"""Commands that no state has, and why."""
OF_THE_SERVER = frozenset(
    {"CONFIG SET", "CONFIG REWRITE", "ACL SETUSER", "ACL DELUSER", "ACL LOAD", "ACL SAVE"}
    | {"MODULE LOAD", "MODULE LOADEX", "MODULE UNLOAD", "REPLICAOF", "SLAVEOF", "FAILOVER"}
    | {"SHUTDOWN"}
)
"""Commands that change more of the server than its keys, functions and scripts."""


class ClientState(StrEnum):
    """How the server takes the client's next command."""

    COMMANDS = "running commands"
    QUEUEING = "queueing for EXEC"
    SKIPPING = "leaving out the next reply"
    SILENT = "replying to nothing"
    SILENT_QUEUEING = "queueing for EXEC, replying to nothing"
    CLOSED = "closed"

    @property
    def is_queueing(self) -> bool:
        """Whether a command only joins the queue of a transaction."""
        return self in {ClientState.QUEUEING, ClientState.SILENT_QUEUEING}

    @property
    def is_silent(self) -> bool:
        """Whether the command that comes gets no reply."""
        return self in {ClientState.SKIPPING, ClientState.SILENT, ClientState.SILENT_QUEUEING}


_C = ClientState
_RUNNING = {
    "MULTI": _C.QUEUEING,
    "HELLO": _C.COMMANDS,
    "RESET": _C.COMMANDS,
    "QUIT": _C.CLOSED,
    REPLY_ON: _C.COMMANDS,
    REPLY_OFF: _C.SILENT,
    REPLY_SKIP: _C.SKIPPING,
    OTHER: _C.COMMANDS,
}
CLIENT_TABLE: Mapping[ClientState, Mapping[str, ClientState]] = MappingProxyType(
    {
        _C.COMMANDS: {**_RUNNING, **dict.fromkeys(SUBSCRIPTIONS, _C.COMMANDS)},
        _C.QUEUEING: {
            # Run at once, with an error:
            "MULTI": _C.QUEUEING,
            "WATCH": _C.QUEUEING,
            "EXEC": _C.COMMANDS,
            "DISCARD": _C.COMMANDS,
            "RESET": _C.COMMANDS,
            "QUIT": _C.CLOSED,
            OTHER: _C.QUEUEING,
        },
        _C.SKIPPING: _RUNNING,
        _C.SILENT: {
            "MULTI": _C.SILENT_QUEUEING,
            "HELLO": _C.SILENT,
            "RESET": _C.COMMANDS,
            "QUIT": _C.CLOSED,
            REPLY_ON: _C.COMMANDS,
            REPLY_OFF: _C.SILENT,
            REPLY_SKIP: _C.SILENT,
            OTHER: _C.SILENT,
        },
        _C.SILENT_QUEUEING: {
            "MULTI": _C.SILENT_QUEUEING,
            "WATCH": _C.SILENT_QUEUEING,
            "EXEC": _C.SILENT,
            "DISCARD": _C.SILENT,
            "RESET": _C.COMMANDS,
            "QUIT": _C.CLOSED,
            OTHER: _C.SILENT_QUEUEING,
        },
        _C.CLOSED: {},
    }
)
NEVER_OTHER = SUBSCRIPTIONS | REFUSALS.keys() | {"HELLO", REPLY_ON, REPLY_OFF, REPLY_SKIP}
"""Commands that a state without a row of theirs refuses: their replies could not be counted."""


class ServerState(StrEnum):
    """What the server owes next."""

    NOTHING = "owing nothing"
    LISTENING = "owing nothing, with subscriptions"
    REPLY = "owing a reply"
    CONFIRMATIONS = "owing confirmations of subscriptions"
    DONE = "done"


_S = ServerState
SERVER_TABLE: Mapping[ServerState, Mapping[str, ServerState]] = MappingProxyType(
    {
        # An error without a command: too many connections, or a protocol error of the client.
        _S.NOTHING: {"push": _S.NOTHING, "error": _S.NOTHING},
        _S.LISTENING: {
            "push": _S.LISTENING,
            "message": _S.LISTENING,
            "confirmation": _S.LISTENING,
            "error": _S.LISTENING,
        },
        _S.REPLY: {
            "value": _S.DONE,
            "error": _S.DONE,
            "push": _S.REPLY,
            "message": _S.REPLY,
        },
        _S.CONFIRMATIONS: {
            "confirmation": _S.CONFIRMATIONS,
            "last confirmation": _S.DONE,
            "error": _S.DONE,
            "push": _S.CONFIRMATIONS,
            "message": _S.CONFIRMATIONS,
        },
    }
)
