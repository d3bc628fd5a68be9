"""Guards of the database that a test takes away, to see that it was they who refused."""

from dataclasses import dataclass
from typing import Protocol

from support.databases import Connection


class Guard(Protocol):
    """Something that refuses writes and can be removed by a superuser."""

    async def remove(self, connection: Connection) -> None:
        """Remove it, in the connection's transaction if it is in one."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of a table."""

    table: str
    name: str

    async def remove(self, connection: Connection) -> None:
        await connection.execute(f"DROP TRIGGER {self.name} ON {self.table}")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table."""

    table: str
    name: str

    async def remove(self, connection: Connection) -> None:
        await connection.execute(f"ALTER TABLE {self.table} DROP CONSTRAINT {self.name}")


@dataclass(frozen=True, slots=True)
class Line:
    """One condition in the body of a guard's function, replaced by one that never refuses."""

    function: str
    text: str
    instead: str = ""

    async def remove(self, connection: Connection) -> None:
        definition: str = await connection.fetchval(
            "SELECT pg_get_functiondef($1::regproc)", self.function
        )
        assert definition.count(self.text) == 1, f"{self.text!r} stands not once in {self.function}"
        await connection.execute(definition.replace(self.text, self.instead))
