"""Whether two outcomes are the same up to the names of generated values.

Identities, sequence values, uuids and clock times differ between runs that did the same. Two
outcomes are equal when a one-to-one renaming of generated values, kind by kind, makes them equal.
Signatures by refinement make most candidates unique; what remains ambiguous is tried, so that
the answer is exact.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from contention.model.outcomes import Outcome, Table

_ROUNDS = 4
_MOST_TRIES = 100_000


class TooAmbiguousError(Exception):
    """Too many generated values look alike to decide within the bound of tries."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A generated value: its kind, and the value that one run happened to give it."""

    kind: str
    value: Hashable


Cell = Hashable
Facts = Counter[tuple[str, tuple[Cell, ...]]]


def same_up_to_names(left: Outcome, right: Outcome) -> bool:
    """Whether one outcome becomes the other by renaming generated values.

    Raises:
        TooAmbiguousError: it could not be decided within a fixed number of tries.
    """
    if dict(left.keys) != dict(right.keys) or dict(left.results) != dict(right.results):
        return False
    if left.tables.keys() != right.tables.keys():
        return False
    ours, theirs = _facts(left), _facts(right)
    our_signatures, their_signatures = _signatures(ours), _signatures(theirs)
    if Counter(our_signatures.values()) != Counter(their_signatures.values()):
        return False
    candidates = defaultdict(list)
    for name, signature in their_signatures.items():
        candidates[signature].append(name)
    order = sorted(our_signatures, key=lambda name: len(candidates[our_signatures[name]]))
    return _match(ours, theirs, [(name, candidates[our_signatures[name]]) for name in order])


def _facts(outcome: Outcome) -> Facts:
    facts: Facts = Counter()
    for table_name, table in outcome.tables.items():
        for row in table.rows:
            facts[table_name, tuple(_cells(table, row))] += 1
    return facts


def _cells(table: Table, row: tuple[object, ...]) -> Iterator[Cell]:
    for column, value in zip(table.columns, row, strict=True):
        kind = table.generated.get(column)
        yield value if kind is None or value is None else _Name(kind, value)


def _signatures(facts: Facts) -> dict[_Name, Hashable]:
    """A value for each name that depends only on where the name stands, not on what it is."""
    places: dict[_Name, list[tuple[str, tuple[Cell, ...], int, int]]] = defaultdict(list)
    for (table, cells), count in facts.items():
        for position, cell in enumerate(cells):
            if isinstance(cell, _Name):
                places[cell].append((table, cells, position, count))
    colours: dict[_Name, Hashable] = {name: name.kind for name in places}
    for _ in range(_ROUNDS):
        colours = {
            name: hash((name.kind, _looks(found, colours))) for name, found in places.items()
        }
    return colours


def _looks(
    found: list[tuple[str, tuple[Cell, ...], int, int]], colours: Mapping[_Name, Hashable]
) -> Hashable:
    return frozenset(
        Counter(
            (
                table,
                position,
                count,
                tuple(colours[cell] if isinstance(cell, _Name) else cell for cell in cells),
            )
            for table, cells, position, count in found
        ).items()
    )


def _match(ours: Facts, theirs: Facts, choices: list[tuple[_Name, list[_Name]]]) -> bool:
    """Whether some one-to-one assignment of names turns our facts into theirs."""
    tries = 0

    def assign(position: int, renaming: dict[_Name, _Name]) -> bool:
        nonlocal tries
        tries += 1
        if tries > _MOST_TRIES:
            raise TooAmbiguousError(f"{len(choices)} generated values look alike")
        if position == len(choices):
            return _renamed(ours, renaming) == theirs
        name, candidates = choices[position]
        taken = set(renaming.values())
        return any(
            assign(position + 1, {**renaming, name: candidate})
            for candidate in candidates
            if candidate not in taken
        )

    return assign(0, {})


def _renamed(facts: Facts, renaming: Mapping[_Name, _Name]) -> Facts:
    renamed: Facts = Counter()
    for (table, cells), count in facts.items():
        new_cells = tuple(renaming[cell] if isinstance(cell, _Name) else cell for cell in cells)
        renamed[table, new_cells] += count
    return renamed
