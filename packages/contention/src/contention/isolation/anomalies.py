"""The classical anomalies, each as a small isolation test and a check on what its steps saw.

The names are those of Berenson et al., "A Critique of ANSI SQL Isolation Levels" (1995): P and A;
Adya, "Weak Consistency" (1999): G; Bailis et al., "Highly Available Transactions" (2013): OTV; and
Fekete et al., "A Read-Only Transaction Anomaly Under Snapshot Isolation" (2004).

Every script works on ``items(id, value)`` with the rows (1, 10) and (2, 20). Its transactions
begin at the level under test, and a step named ``final`` reads the table after all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """What one step brought.

    Attributes:
        rows: of its last result, as text; empty for a step that returns none or fails.
        command: the last command tag; a COMMIT that rolled back says ``ROLLBACK``.
        sqlstate: the error's code, or nothing.
    """

    rows: tuple[tuple[str, ...], ...] = ()
    command: str = ""
    sqlstate: str | None = None


Sightings = Mapping[str, Seen]
"""What every step brought, by the step's name."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One anomaly.

    Attributes:
        code: its name in the literature.
        name: its name in words.
        script: sessions and one permutation, in the isolation test format.
        happened: whether what the steps saw is the anomaly.
    """

    code: str
    name: str
    script: str
    happened: Callable[[Sightings], bool]


def _committed(seen: Sightings, *steps: str) -> bool:
    return all(seen[step].command == "COMMIT" for step in steps)


def _values(seen: Sightings, step: str) -> list[str]:
    """Return the last column of what a step read."""
    return [row[-1] for row in seen[step].rows]


def _mixed_writes(seen: Sightings) -> bool:
    """Both transactions wrote both rows, and each row has another's value."""
    return _committed(seen, "c1", "c2") and _values(seen, "final") in (["11", "22"], ["12", "21"])


def _saw_rolled_back(seen: Sightings) -> bool:
    return "101" in _values(seen, "r2a") + _values(seen, "r2b")


def _saw_each_other(seen: Sightings) -> bool:
    return _values(seen, "r1") == ["22"] and _values(seen, "r2") == ["11"]


def _transaction_vanished(seen: Sightings) -> bool:
    """A later read shows an older transaction's write than an earlier read did."""
    written_by = {"10": 0, "20": 0, "11": 1, "19": 1, "12": 2, "18": 2}
    reads = ("r3a", "r3b", "r3c", "r3d")
    order = [written_by[value] for step in reads for value in _values(seen, step)]
    return order != sorted(order)


def _read_differs(seen: Sightings) -> bool:
    return _committed(seen, "c1", "c2") and seen["r1a"].rows != seen["r1b"].rows


def _update_was_lost(seen: Sightings) -> bool:
    return _committed(seen, "c1", "c2") and _values(seen, "final")[0] == "11"


def _saw_halves(seen: Sightings) -> bool:
    return _values(seen, "r1a") == ["10"] and _values(seen, "r1b") == ["18"]


def _both_committed(seen: Sightings) -> bool:
    return _committed(seen, "c1", "c2")


def _deletion_missed(seen: Sightings) -> bool:
    """A row with the value to delete was there before and after, and no deletion met it."""
    return _committed(seen, "c1", "c2") and "20" in _values(seen, "final")


def _report_contradicts(seen: Sightings) -> bool:
    """The report saw the deposit and no withdrawal, which in turn did not see the deposit."""
    return _committed(seen, "c1", "c2", "c3") and _values(seen, "r3") == ["10", "40"]


ANOMALIES = (
    Anomaly(
        "G0",
        "dirty write",
        """
        session s1  setup { BEGIN; }
        step w1a { UPDATE items SET value = 11 WHERE id = 1; }
        step w1b { UPDATE items SET value = 21 WHERE id = 2; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2a { UPDATE items SET value = 12 WHERE id = 1; }
        step w2b { UPDATE items SET value = 22 WHERE id = 2; }
        step c2  { COMMIT; }
        session s3
        step final { SELECT id, value FROM items ORDER BY id; }
        permutation w1a w2a w1b c1 w2b c2 final
        """,
        _mixed_writes,
    ),
    Anomaly(
        "G1a",
        "aborted read",
        """
        session s1  setup { BEGIN; }
        step w1  { UPDATE items SET value = 101 WHERE id = 1; }
        step a1  { ROLLBACK; }
        session s2  setup { BEGIN; }
        step r2a { SELECT value FROM items WHERE id = 1; }
        step r2b { SELECT value FROM items WHERE id = 1; }
        step c2  { COMMIT; }
        permutation w1 r2a a1 r2b c2
        """,
        _saw_rolled_back,
    ),
    Anomaly(
        "G1b",
        "intermediate read",
        """
        session s1  setup { BEGIN; }
        step w1a { UPDATE items SET value = 101 WHERE id = 1; }
        step w1b { UPDATE items SET value = 11 WHERE id = 1; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step r2a { SELECT value FROM items WHERE id = 1; }
        step r2b { SELECT value FROM items WHERE id = 1; }
        step c2  { COMMIT; }
        permutation w1a r2a w1b c1 r2b c2
        """,
        _saw_rolled_back,
    ),
    Anomaly(
        "G1c",
        "circular information flow",
        """
        session s1  setup { BEGIN; }
        step w1  { UPDATE items SET value = 11 WHERE id = 1; }
        step r1  { SELECT value FROM items WHERE id = 2; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2  { UPDATE items SET value = 22 WHERE id = 2; }
        step r2  { SELECT value FROM items WHERE id = 1; }
        step c2  { COMMIT; }
        permutation w1 w2 r1 r2 c1 c2
        """,
        _saw_each_other,
    ),
    Anomaly(
        "OTV",
        "observed transaction vanishes",
        """
        session s1  setup { BEGIN; }
        step w1a { UPDATE items SET value = 11 WHERE id = 1; }
        step w1b { UPDATE items SET value = 19 WHERE id = 2; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2a { UPDATE items SET value = 12 WHERE id = 1; }
        step w2b { UPDATE items SET value = 18 WHERE id = 2; }
        step c2  { COMMIT; }
        session s3  setup { BEGIN; }
        step r3a { SELECT value FROM items WHERE id = 1; }
        step r3b { SELECT value FROM items WHERE id = 2; }
        step r3c { SELECT value FROM items WHERE id = 2; }
        step r3d { SELECT value FROM items WHERE id = 1; }
        step c3  { COMMIT; }
        permutation w1a w1b w2a c1 r3a w2b r3b c2 r3c r3d c3
        """,
        _transaction_vanished,
    ),
    Anomaly(
        "P2",
        "non-repeatable read",
        """
        session s1  setup { BEGIN; }
        step r1a { SELECT value FROM items WHERE id = 1; }
        step r1b { SELECT value FROM items WHERE id = 1; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2  { UPDATE items SET value = 12 WHERE id = 1; }
        step c2  { COMMIT; }
        permutation r1a w2 c2 r1b c1
        """,
        _read_differs,
    ),
    Anomaly(
        "P3",
        "phantom",
        """
        session s1  setup { BEGIN; }
        step r1a { SELECT id FROM items WHERE value > 15 ORDER BY id; }
        step r1b { SELECT id FROM items WHERE value > 15 ORDER BY id; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2  { INSERT INTO items VALUES (3, 30); }
        step c2  { COMMIT; }
        permutation r1a w2 c2 r1b c1
        """,
        _read_differs,
    ),
    Anomaly(
        "PMP",
        "predicate-many-preceders",
        """
        session s1  setup { BEGIN; }
        step w1  { UPDATE items SET value = value + 10; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step d2  { DELETE FROM items WHERE value = 20; }
        step c2  { COMMIT; }
        session s3
        step final { SELECT id, value FROM items ORDER BY id; }
        permutation w1 d2 c1 c2 final
        """,
        _deletion_missed,
    ),
    Anomaly(
        "P4",
        "lost update",
        """
        session s1  setup { BEGIN; }
        step r1  { SELECT value FROM items WHERE id = 1; }
        step w1  { UPDATE items SET value = 11 WHERE id = 1; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step r2  { SELECT value FROM items WHERE id = 1; }
        step w2  { UPDATE items SET value = 11 WHERE id = 1; }
        step c2  { COMMIT; }
        session s3
        step final { SELECT id, value FROM items ORDER BY id; }
        permutation r1 r2 w1 w2 c1 c2 final
        """,
        _update_was_lost,
    ),
    Anomaly(
        "A5A",
        "read skew",
        """
        session s1  setup { BEGIN; }
        step r1a { SELECT value FROM items WHERE id = 1; }
        step r1b { SELECT value FROM items WHERE id = 2; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step w2a { UPDATE items SET value = 12 WHERE id = 1; }
        step w2b { UPDATE items SET value = 18 WHERE id = 2; }
        step c2  { COMMIT; }
        permutation r1a w2a w2b c2 r1b c1
        """,
        _saw_halves,
    ),
    Anomaly(
        "A5B",
        "write skew",
        """
        session s1  setup { BEGIN; }
        step r1  { SELECT sum(value) FROM items WHERE id IN (1, 2); }
        step w1  { UPDATE items SET value = 0 WHERE id = 1; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step r2  { SELECT sum(value) FROM items WHERE id IN (1, 2); }
        step w2  { UPDATE items SET value = 0 WHERE id = 2; }
        step c2  { COMMIT; }
        permutation r1 r2 w1 w2 c1 c2
        """,
        _both_committed,
    ),
    Anomaly(
        "G2",
        "anti-dependency cycle over a predicate",
        """
        session s1  setup { BEGIN; }
        step r1  { SELECT id FROM items WHERE value % 3 = 0; }
        step w1  { INSERT INTO items VALUES (3, 30); }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step r2  { SELECT id FROM items WHERE value % 3 = 0; }
        step w2  { INSERT INTO items VALUES (4, 42); }
        step c2  { COMMIT; }
        permutation r1 r2 w1 w2 c1 c2
        """,
        _both_committed,
    ),
    Anomaly(
        "ROA",
        "read-only transaction anomaly",
        """
        session s1  setup { BEGIN; }
        step w1  { UPDATE items SET value = 40 WHERE id = 2; }
        step c1  { COMMIT; }
        session s2  setup { BEGIN; }
        step r2  { SELECT value FROM items ORDER BY id; }
        step w2  { UPDATE items SET value = -1 WHERE id = 1; }
        step c2  { COMMIT; }
        session s3  setup { BEGIN; }
        step r3  { SELECT id, value FROM items ORDER BY id; }
        step c3  { COMMIT; }
        permutation r2 w1 c1 r3 c3 w2 c2
        """,
        _report_contradicts,
    ),
)
"""In the order of the table that people read."""
