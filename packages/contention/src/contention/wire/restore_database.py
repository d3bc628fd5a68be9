"""A database that goes back to how ``setup`` left it, before every run.

Usually in place: the tables that were written are emptied and filled again. PostgreSQL counts the
rows that every backend inserts, updates and deletes, also those that were rolled back, and gives a
table that is truncated or rewritten another file; so what was written is known without reading a
row. When a system table was written, its content is compared with that of a clone, the template; if
it has changed, or if a table cannot be put back row by row, the database is cloned from it anew.

Not put back: what belongs to the whole server. A change of its roles is an error. A run in which
a worker could turn the counts off (``track_counts``) is refused before it comes to that.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from contention.wire.own_connections import connect_postgres
from contention.wire.restore_capture import SETTINGS, read_plan, sequence_state
from contention.wire.restore_plan import (
    FLUSH_COUNTERS,
    Marks,
    NotInPlaceError,
    Plan,
    SequenceStart,
    Table,
    literal,
    restoring_sql,
)
from contention.wire.servers import PostgresServer, UnusableServerError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

_CONNECTION_LOST: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""How asyncpg says that a worker has ended the kit's own connection."""
_MOST_LOOKS: Final = 5_000
_ENDING: Final = "SELECT pg_terminate_backend(pid), pg_sleep(0.001) FROM unnest($1::int[]) AS pid"
_SHARED: Final = tuple(
    f"pg_catalog.{name}"
    for name in ("pg_authid", "pg_auth_members", "pg_db_role_setting", "pg_parameter_acl")
)
_WRITTEN: Final = """
    ARRAY(SELECT pg_stat_get_tuples_inserted(number::oid) + pg_stat_get_tuples_updated(number::oid)
               + pg_stat_get_tuples_deleted(number::oid)
          FROM unnest({numbers}::int8[]) WITH ORDINALITY AS one (number, at) ORDER BY at)
    """
_LOOK: Final = f"""
    SELECT ARRAY(SELECT pid FROM pg_stat_get_activity(NULL)
                 WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND backend_type = 'client backend' AND pid <> ALL ($1::int[])) AS strangers,
           ARRAY(SELECT gid FROM pg_prepared_xact()
                 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                ) AS prepared,
           {_WRITTEN.format(numbers="$2")} AS catalogs,
           {_WRITTEN.format(numbers="$3")} AS tables,
           ARRAY(SELECT pg_relation_filenode(number::oid)::int8
                 FROM unnest($3::int8[]) WITH ORDINALITY AS one (number, at) ORDER BY at) AS files,
           ARRAY[{{sequences}}]::text[] AS sequences
    """  # noqa: S608 - constants
_ROW: Final = {
    # What restoring itself changes is left out.
    "pg_catalog.pg_class": """to_jsonb(one) - ARRAY['relfilenode', 'relpages', 'reltuples',
        'relallvisible', 'relallfrozen', 'relfrozenxid', 'relminmxid']""",
    # The first temporary table of a backend's number makes a schema that stays, empty.
    "pg_catalog.pg_namespace": "CASE WHEN nspname !~ '^pg_(toast_)?temp_' THEN one END",
    # A clone has another number.
    "pg_catalog.pg_db_role_setting": """ROW(setrole, setconfig, setdatabase = 0, setdatabase =
        (SELECT oid FROM pg_database WHERE datname = current_database()))""",
}
_SETTINGS_OF_DATABASE: Final = """
    SELECT setrole, setconfig,
        setrole = 0 OR setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS is_own
    FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY setrole
    """
_RIGHTS: Final = """
    SELECT datdba, datacl::text, datconnlimit FROM pg_database WHERE datname = current_database()
    """


class RestoreError(Exception):
    """A state that the kit cannot put back, with the reason."""


class DatabaseStart:
    """The start of every run, and the way back to it; made by `DatabaseStart.of`.

    Attributes:
        clones: how often the database had to be cloned.
    """

    def __init__(
        self, server: PostgresServer, template: str, admin: "Connection", inside: "Connection"
    ) -> None:
        self.clones = 0
        self._server = server
        self._template = template
        self._admin = admin
        self._inside = inside
        self._plan = Plan((), (), (), {})
        self._catalogs: tuple[int, ...] = ()
        self._contents: dict[str, str] = {}
        self._look_sql = ""
        self._marks: Marks | None = None
        self._settings: Sequence[asyncpg.Record] = ()
        self._rights: Iterable[object] = ()

    @classmethod
    async def of(
        cls, server: PostgresServer, template: str, admin: "Connection"
    ) -> "DatabaseStart":
        """The state of a database as it is now.

        Args:
            server: with the database; nobody is connected to it.
            template: the name of the clone to make, which must not exist yet.
            admin: a superuser's connection to another database of the server.
        """
        start = cls(server, template, admin, await connect_postgres(server, SETTINGS))
        try:
            await start._capture()
        except BaseException:
            await start.close()
            raise
        return start

    async def restore(
        self,
        kept: Iterable[int] = (),
        before_cloning: Callable[[], object] = lambda: None,
    ) -> None:
        """Put everything back; whoever is still connected is disconnected first.

        Args:
            kept: process ids of idle backends that stay.
            before_cloning: called when all connections to the database are about to be cut.

        Raises:
            RestoreError: a worker changed the roles of the server, or a backend does not end.
        """
        kept = (*kept, self._inside.get_server_pid())
        try:
            await self._restore_in_place(kept)
        except (NotInPlaceError, asyncpg.PostgresError, *_CONNECTION_LOST):
            before_cloning()
            await self._clone()

    async def has_kept_catalogs(self, kept: Iterable[int] = ()) -> bool:
        """Whether it is certain that no system table was written since all was put back.

        Args:
            kept: as `restore` has them; of anybody else it is not known what is still to come.
        """
        if self._marks is None:
            return False
        try:
            now = await self._look((*kept, self._inside.get_server_pid()))
        except (asyncpg.PostgresError, *_CONNECTION_LOST):
            return False
        return not now.strangers and not self._plan.changed_catalogs(self._marks, now)

    async def close(self) -> None:
        """Drop the template; the database stays as it is."""
        await self._inside.close()
        await self._admin.execute(f'DROP DATABASE IF EXISTS "{self._template}"')

    # --- in place ------------------------------------------------------------------------------

    async def _restore_in_place(self, kept: Sequence[int]) -> None:
        now = await self._look_at_peace(kept)
        if self._marks is None:
            raise NotInPlaceError("the last restoring was broken off")
        before, self._marks = self._marks, None
        changed = self._plan.changed_catalogs(before, now)
        await self._read_contents(changed)
        for name in changed:
            if await self._content(self._inside, name) != self._contents[name]:
                raise NotInPlaceError(f"{name} has changed")
        tables = self._plan.changed_tables(before, now)
        sequences = self._plan.changed_sequences(now)
        if tables or sequences:
            await self._put_back(tables, sequences)
            now = await self._look(kept)
        self._marks = now

    async def _put_back(self, tables: Sequence[Table], sequences: Sequence[SequenceStart]) -> None:
        copied = [table for table in tables if table.copied]
        await self._inside.execute(restoring_sql(tables, sequences, is_whole=not copied))
        if not copied:
            return
        for table in copied:
            await _copy_into(self._inside, table)
        await self._inside.execute(f"{FLUSH_COUNTERS}; COMMIT")

    async def _look_at_peace(self, kept: Sequence[int]) -> Marks:
        """The marks once nobody is left who could still move them."""
        for _ in range(_MOST_LOOKS):
            marks = await self._look(kept)
            if not marks.strangers and not marks.prepared:
                return marks
            await self._end(marks)
        raise RestoreError(f"backends {marks.strangers} or {marks.prepared} do not end")

    async def _end(self, marks: Marks) -> None:
        if marks.strangers:
            # Locks and counts are told by the time a backend is no more listed.
            await self._inside.execute(_ENDING, list(marks.strangers))
        for name in marks.prepared:
            await self._inside.execute(f"ROLLBACK PREPARED {literal(name)}")

    async def _look(self, kept: Sequence[int]) -> Marks:
        numbers = [table.oid for table in self._plan.tables]
        row = await self._inside.fetchrow(self._look_sql, list(kept), list(self._catalogs), numbers)
        assert row is not None  # noqa: S101 - a query without FROM has a row
        return Marks(*map(tuple, row))

    async def _read_contents(self, names: Sequence[str]) -> None:
        """Know what these system tables held at the start, as their clones in the template tell.

        Few runs write any, so they are not read before. Nobody may stay connected to a template.

        Raises:
            NotInPlaceError: the template cannot be looked at.
        """
        unknown = [name for name in names if name not in self._contents]
        if not unknown:
            return
        # Names are told as the search path says, which a clone does not take over.
        settings = {**_settings_in(self._settings), **SETTINGS}
        try:
            template = await connect_postgres(self._server.using(self._template), settings)
        except UnusableServerError as error:
            raise NotInPlaceError(str(error)) from error
        try:
            for name in unknown:
                self._contents[name] = await self._content(template, name)
        finally:
            await template.close()

    @staticmethod
    async def _content(connection: "Connection", name: str) -> str:
        """A sum over the rows of a system table: equal when they are, in whatever order."""
        row = _ROW.get(name, "one")
        found: str = await connection.fetchval(
            f"SELECT concat(count({row}), ':', sum(hashtextextended(({row})::text, 0)))"  # noqa: S608 - constants and the catalogue's names
            f" FROM {name} AS one"
        )
        return found

    # --- by cloning ----------------------------------------------------------------------------

    async def _capture(self) -> None:
        self._look_sql = _LOOK.format(sequences="")
        own = (self._inside.get_server_pid(),)
        if prepared := (await self._look(own)).prepared:
            raise RestoreError(f"setup left a prepared transaction: {', '.join(prepared)}")
        await self._look_at_peace(own)
        self._plan, self._catalogs = await read_plan(self._inside)
        states = ", ".join(f"({sequence_state(one.name)})" for one in self._plan.sequences)
        self._look_sql = _LOOK.format(sequences=states)
        await self._rewrite_all()
        for name in _SHARED:
            self._contents[name] = await self._content(self._inside, name)
        self._settings = await self._inside.fetch(_SETTINGS_OF_DATABASE)
        self._rights = await self._inside.fetchrow(_RIGHTS) or ()
        await self._inside.close()
        await self._admin.execute(
            f'CREATE DATABASE "{self._template}" TEMPLATE "{self._server.database}"'
        )
        await self._reconnect()

    async def _rewrite_all(self) -> None:
        """Lay every table out as it will be after each restoring, so that all runs are alike."""
        try:
            everything = self._plan.with_dragged(
                table.oid for table in self._plan.tables if table.is_kept
            )
            await self._put_back(everything, ())
        except (NotInPlaceError, asyncpg.PostgresError):
            # What cannot be laid out anew is cloned, which lays it out as it is.
            await self._inside.execute("ROLLBACK")

    async def _clone(self) -> None:
        self._marks = None
        self.clones += 1
        self._inside.terminate()
        name = self._server.database
        await self._end_prepared()
        await self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        await self._admin.executemany(
            "INSERT INTO pg_db_role_setting SELECT oid, $1, $2 FROM pg_database WHERE datname = $3",
            [(row["setrole"], row["setconfig"], name) for row in self._settings],
        )
        await self._admin.execute(
            "UPDATE pg_database SET datdba = $1, datacl = $2::text::aclitem[], datconnlimit = $3"
            " WHERE datname = $4",
            *self._rights,
            name,
        )
        await self._reconnect()
        for shared in _SHARED:
            if await self._content(self._inside, shared) != self._contents[shared]:
                raise RestoreError(
                    f"a worker changed {shared}, which belongs to the whole server and cannot be "
                    "put back: make roles before the exploration"
                )

    async def _end_prepared(self) -> None:
        """Roll back prepared transactions, which would keep the database."""
        database = self._server.database
        names = await self._admin.fetch(
            "SELECT gid FROM pg_prepared_xacts WHERE database = $1", database
        )
        if not names:
            return
        inside = await connect_postgres(self._server)
        try:
            for row in names:
                await inside.execute(f"ROLLBACK PREPARED {literal(row['gid'])}")
        finally:
            await inside.close()

    async def _reconnect(self) -> None:
        self._inside = await connect_postgres(self._server, SETTINGS)
        self._marks = await self._look(())


def _settings_in(rows: Iterable[asyncpg.Record]) -> dict[str, str]:
    """What a database sets for the kit's own sessions, by name."""
    given = (one.partition("=") for row in rows if row["is_own"] for one in row["setconfig"])
    return {name: value for name, _, value in given}


async def _copy_into(connection: "Connection", table: Table) -> None:
    await connection.copy_to_table(
        table.bare_name,
        schema_name=table.schema,
        columns=table.columns,
        source=io.BytesIO(table.copied),
    )
