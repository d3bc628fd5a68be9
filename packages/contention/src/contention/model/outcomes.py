"""What a run left behind: tables, keys, and what each worker returned or raised."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, in no order.

    Attributes:
        columns: the names of the columns.
        rows: the rows, values in the columns' order; values can be compared and hashed.
        generated: columns whose values are made by a sequence, an identity, a uuid or a clock, or
            refer to such a column: compared up to renaming. Value by column, as the name of the
            kind of value, so that an order's number and a reference to it are renamed together.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    generated: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.generated) - set(self.columns)
        if unknown:
            raise ValueError(f"{sorted(unknown)} are not columns of the table")
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("each row has one value a column")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind.

    Attributes:
        tables: by name.
        keys: Redis keys, with their values.
        results: what each worker returned, by its name; an exception as its class and text.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    keys: Mapping[str, object] = field(default_factory=dict)
    results: Mapping[str, object] = field(default_factory=dict)
