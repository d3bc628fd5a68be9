"""What the two halves of a PostgreSQL connection know in common."""

from contention.wire.postgres_lifecycle import ReplyState
from contention.wire.postgres_messages import ParameterStatus, python_encoding
from contention.wire.postgres_requests import Portal, PreparedStatement, Registration

_KEPT_PORTALS = 1000
"""Portals end with their transaction; so many are remembered, the newest."""


class Session:
    """Names, settings and the mode of a connection.

    Attributes:
        resting: what stands while the server answers nothing.
        parameters: the settings that the server has reported.
    """

    __slots__ = ("_portals", "conforming", "encoding", "parameters", "resting", "statements")

    def __init__(self) -> None:
        self.resting = ReplyState.LOG_IN
        self.parameters: dict[str, str] = {}
        self.encoding = "utf-8"
        self.conforming = True
        self.statements: dict[str, PreparedStatement] = {}
        self._portals: dict[str, Portal] = {}

    def report(self, status: ParameterStatus) -> None:
        """Take in a ParameterStatus."""
        self.parameters[status.name] = status.value
        if status.name == "client_encoding":
            self.encoding = python_encoding(status.value)
        elif status.name == "standard_conforming_strings":
            self.conforming = status.value == "on"

    def text(self, raw: bytes) -> str:
        """A name or SQL text in the session's encoding."""
        return raw.decode(self.encoding, "backslashreplace")

    def register(self, name: str, statement: PreparedStatement | None) -> Registration:
        """Let a name mean ``statement``, or nothing; the result can be taken back."""
        registration = Registration(name, self.statements.get(name), statement)
        self._set(name, statement)
        return registration

    def take_back(self, registration: Registration) -> None:
        """Undo a registration that the server refused, unless the name has moved on."""
        if self.statements.get(registration.name) is registration.after:
            self._set(registration.name, registration.before)

    def describe(self, statement: PreparedStatement, described: PreparedStatement) -> None:
        """Replace a statement by what is known of it now, unless its name has moved on."""
        if self.statements.get(statement.name) is statement:
            self.statements[statement.name] = described

    def statement(self, name: str) -> PreparedStatement:
        """What a name means; a statement without a text when that was prepared out of sight."""
        return self.statements.get(name) or PreparedStatement(name, None)

    def bind(self, portal: Portal) -> None:
        """Remember a portal."""
        self._portals.pop(portal.name, None)
        self._portals[portal.name] = portal
        if len(self._portals) > _KEPT_PORTALS:
            del self._portals[next(iter(self._portals))]

    def portal(self, name: str) -> Portal:
        """A portal; one without a text when it was declared out of sight."""
        return self._portals.get(name) or Portal(name, PreparedStatement("", None))

    def close_portal(self, name: str) -> None:
        """Forget a portal."""
        self._portals.pop(name, None)

    def _set(self, name: str, statement: PreparedStatement | None) -> None:
        if statement is None:
            self.statements.pop(name, None)
        else:
            self.statements[name] = statement
