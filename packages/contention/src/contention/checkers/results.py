"""What workers returned, as facts that can be compared up to the names of generated values."""

from collections.abc import Iterator, Mapping

from contention.model.outcomes import Outcome, Row, Table


def with_results_as_tables(outcome: Outcome) -> Outcome:
    """The outcome with every returned value that is a generated one of the tables renamed as such.

    A worker that returns the id of the row it made returns another number in another order. A value
    is taken for a generated one when exactly one kind has made it.
    """
    makers = _makers(outcome)
    tables, plain = dict(outcome.tables), {}
    for worker, result in outcome.results.items():
        for path, value in _leaves(result, worker):
            kinds = makers.get(str(value), set())
            if value is not None and not isinstance(value, bool) and len(kinds) == 1:
                generated = {"value": next(iter(kinds))}
                tables[f"result {path}"] = Table(("value",), ((str(value),),), generated)
            else:
                plain[path] = value
    return Outcome(tables, outcome.keys, plain)


def _makers(outcome: Outcome) -> dict[str, set[str]]:
    """The kinds that made each generated value, by the value as text."""
    makers: dict[str, set[str]] = {}
    for table in outcome.tables.values():
        for row in table.rows:
            for kind, value in _generated(table, row):
                makers.setdefault(value, set()).add(kind)
    return makers


def _generated(table: Table, row: Row) -> Iterator[tuple[str, str]]:
    for column, value in zip(table.columns, row, strict=True):
        if column in table.generated and value is not None:
            yield table.generated[column], str(value)


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """The simple values in a result, each with where it stands; containers give their size."""
    if isinstance(value, Mapping):
        yield f"{path} size", len(value)
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        yield f"{path} size", len(value)
        for position, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{position}]")
    else:
        yield path, value
