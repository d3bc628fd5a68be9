"""Where a statement that is its own transaction ends: with itself, or in a step of its own."""

from typing import TYPE_CHECKING, Final

from contention.wire.advisory_locks import (
    is_advisory_call,
    is_of_transaction,
    mentions_advisory_locks,
)
from contention.wire.postgres_sql import Statement, Verb
from contention.wire.sql_words import first_word, is_of_session, only_looks, runs_a_body

if TYPE_CHECKING:
    from contention.wire.catalogue import Catalogue
    from contention.wire.lessons import Lessons
    from contention.wire.postgres_requests import Execution, PostgresRequest
    from contention.wire.statement_reading import Reading

_COPY: Final = "copy"


class OwnEnds:
    """Decides it for one run, and sees what all runs after have to know.

    Args:
        catalogue: of the run's database.
        lessons: is told what the workers' statements hang on.
    """

    def __init__(self, catalogue: "Catalogue", lessons: "Lessons") -> None:
        self._catalogue = catalogue
        self._lessons = lessons
        self._are_apart = lessons.ends_apart  # the same all through a run

    def are_apart(self, execution: "Execution", *, is_plain: bool) -> bool:
        """Whether what was sent outside of a transaction block ends in a step of its own.

        One that only looks does not: nobody can tell when it ended.

        Args:
            execution: what was sent.
            is_plain: whether texts mean what the kit takes them to mean.
        """
        if execution.sql is not None and all(
            self._is_whole(statement, is_plain=is_plain) for statement in execution.statements
        ):
            return False
        self._lessons.has_alone = True
        return self._are_apart

    def see(
        self,
        request: "PostgresRequest",
        reading: "Reading",
        *,
        is_plain: bool,
        has_other_ways: bool,
    ) -> None:
        """See what a request may hang on.

        Args:
            request: the request.
            reading: what is known of it.
            is_plain: whether texts mean what the kit takes them to mean.
            has_other_ways: whether its transaction has one snapshot, or its waits have limits.
        """
        statements = [one for execution in request.executions for one in execution.statements]
        functions = self._catalogue.functions
        self._lessons.bodies |= {one.text for one in statements if runs_a_body(one.text, functions)}
        self._lessons.has_entangled |= has_other_ways or (
            not _is_about_one_thing(reading)
            and not all(self._only_looks(one, is_plain=is_plain) for one in statements)
        )

    def _is_whole(self, statement: Statement, *, is_plain: bool) -> bool:
        text = statement.text
        is_lasting_call = mentions_advisory_locks(text) and not is_of_transaction(text)
        return (
            self._only_looks(statement, is_plain=is_plain)
            or first_word(text) == _COPY
            or (is_lasting_call and is_advisory_call(text, self._catalogue.harmless))
        )

    def _only_looks(self, statement: Statement, *, is_plain: bool) -> bool:
        """Whether a statement locks and changes nothing that others can see."""
        if statement.verb.is_control or statement.verb is Verb.INTROSPECTION:
            return True
        return is_of_session(statement.text) or (
            is_plain and only_looks(statement.text, self._catalogue.harmless)
        )


def _is_about_one_thing(reading: "Reading") -> bool:
    """Whether a request waits for one thing at most and then takes it as it is.

    So it is with one row that a key names, with rows of given values, and with a lock of the
    session: it is as if whoever was waited for had ended before. What looks at more sees the rest
    as it was before it had to wait.
    """
    shape = reading.shape
    if shape is not None and (shape.is_blind or (shape.key is not None and reading.may_acquire)):
        return True
    return reading.call is not None and reading.call.is_of_session
