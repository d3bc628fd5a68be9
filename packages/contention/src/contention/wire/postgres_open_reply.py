"""What has come of a reply that has not ended."""

from typing import TYPE_CHECKING

from contention.wire.postgres_requests import (
    SAMPLE_ROW_BYTES,
    SAMPLE_ROWS,
    Expectation,
    PostgresReply,
    Result,
)

if TYPE_CHECKING:
    from contention.wire.postgres_messages import Column, Notification, ServerMessage


class OpenReply:
    """What has come of the reply to one request."""

    __slots__ = (
        "columns",
        "error",
        "left",
        "notices",
        "notifications",
        "number",
        "results",
        "row_count",
        "sample",
    )

    def __init__(self, number: int, left: int) -> None:
        self.number = number
        self.left = left
        self.results: list[Result] = []
        self.error: ServerMessage | None = None
        self.notices: list[ServerMessage] = []
        self.notifications: list[Notification] = []
        self.row_count = 0
        self.sample: list[bytes] = []
        self.columns: tuple[Column, ...] | None = None

    def row(self, chunk: bytes, begin: int, end: int) -> None:
        """Count a DataRow, whose body stands in ``chunk``, and keep it if it is an early one."""
        self.row_count += 1
        if self.row_count <= SAMPLE_ROWS and end - begin <= SAMPLE_ROW_BYTES:
            self.sample.append(chunk[begin:end])

    def result(self, tag: str, expectation: Expectation, encoding: str) -> None:
        """End one statement's result."""
        sample = tuple(self.sample)
        portal = expectation.portal
        self.results.append(Result(tag, self.row_count, sample, self.columns, portal, encoding))
        self.row_count, self.columns = 0, None
        self.sample.clear()

    def summary(
        self,
        status: str | None = None,
        *,
        awaits_copy: bool = False,
        is_skipped: bool = False,
        is_lost: bool = False,
    ) -> PostgresReply:
        """The whole reply, at its end."""
        return PostgresReply(
            status,
            tuple(self.results),
            self.error,
            tuple(self.notices),
            tuple(self.notifications),
            awaits_copy,
            is_skipped,
            is_lost,
        )
