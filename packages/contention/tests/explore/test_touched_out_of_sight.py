"""What a statement touches without naming it is seen: whoever reads twice may read two things."""

from dataclasses import dataclass

import pytest

from contention.explore import Bounds, NotGreenError, explore
from contention.wire.servers import Links, Servers

from .programs import Program, database

SHOP = """
    CREATE TABLE stock (id int PRIMARY KEY, name text UNIQUE, amount int);
    INSERT INTO stock VALUES (1, 'tea', 0), (2, 'milk', 0);
    """
SELL = "UPDATE stock SET amount = amount - 1 WHERE id = 1"
READ = "SELECT amount FROM stock WHERE id = 1"
SALES = "CREATE TABLE sales (item text);"
TRIGGERED = (
    f"CREATE FUNCTION sell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {SELL}; RETURN NEW; END';"
)
CHILDREN = "CREATE TABLE orders (id int PRIMARY KEY, item int REFERENCES stock ON DELETE CASCADE);"


@dataclass(frozen=True, slots=True)
class Pair:
    """A statement that reads, and one that changes what it finds.

    Attributes:
        made: what there is besides the shop.
    """

    made: str
    read: str
    change: str


def keyed(type_name: str, value: str, other_form: str) -> Pair:
    """One row whose key is written in two ways."""
    return Pair(
        f"CREATE TABLE t (k {type_name} PRIMARY KEY, n int); INSERT INTO t VALUES ({value}, 0);",
        f"SELECT n FROM t WHERE k = {value}",
        f"UPDATE t SET n = 1 WHERE k = {other_form}",
    )


PAIRS = {
    "a trigger": Pair(
        f"{SALES} {TRIGGERED} CREATE TRIGGER s AFTER INSERT ON sales EXECUTE FUNCTION sell()",
        READ,
        "INSERT INTO sales VALUES ('tea')",
    ),
    "a trigger at the end": Pair(
        f"{SALES} {TRIGGERED} CREATE CONSTRAINT TRIGGER s AFTER INSERT ON sales"
        " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sell()",
        READ,
        "INSERT INTO sales VALUES ('tea')",
    ),
    "a rule": Pair(
        f"{SALES} CREATE RULE s AS ON INSERT TO sales DO ALSO {SELL}",
        READ,
        "INSERT INTO sales VALUES ('tea')",
    ),
    "a cascade": Pair(
        f"{CHILDREN} INSERT INTO orders VALUES (7, 1)",
        "SELECT item FROM orders WHERE id = 7",
        "DELETE FROM stock WHERE id = 1",
    ),
    "a view": Pair(
        "CREATE VIEW shown AS SELECT * FROM stock",
        "SELECT amount FROM shown WHERE id = 1",
        SELL,
    ),
    "a partition": Pair(
        "CREATE TABLE days (day int PRIMARY KEY, sold int) PARTITION BY RANGE (day);"
        "CREATE TABLE first PARTITION OF days FOR VALUES FROM (1) TO (9);"
        "INSERT INTO days VALUES (1, 0)",
        "SELECT sold FROM days WHERE day = 1",
        "UPDATE first SET sold = 1 WHERE day = 1",
    ),
    "a function": Pair(
        f"CREATE FUNCTION sell_one() RETURNS void LANGUAGE sql AS '{SELL}'",
        READ,
        "SELECT sell_one()",
    ),
    "a key that comes from another row": Pair(
        "", "SELECT amount FROM stock WHERE id = 3", "UPDATE stock SET id = 3 WHERE id = 1"
    ),
    "a row found by its other key": Pair(
        "", READ, "INSERT INTO stock VALUES (3, 'tea') ON CONFLICT (name) DO UPDATE SET amount = 5"
    ),
    "a change inside a query": Pair(
        "", READ, f"WITH sold AS ({SELL}) SELECT amount FROM stock WHERE id = 2"
    ),
    "a stored result": Pair(
        f"CREATE MATERIALIZED VIEW counted AS {READ}; {SELL}",
        "SELECT amount FROM counted",
        "REFRESH MATERIALIZED VIEW counted",
    ),
    "a large object": Pair(
        "SELECT lo_from_bytea(4711, 'abc')", "SELECT lo_get(4711)", "SELECT lo_put(4711, 0, 'x')"
    ),
    "a key in another scale": keyed("numeric", "1", "1.00"),
    "a key in another unit": keyed("interval", "'1 day'", "'24 hours'"),
    "a key with spaces behind it": keyed("char(5)", "'a'", "'a  '"),
    "a key in another zone": keyed("timestamptz", "'2025-01-01 00:00Z'", "'2025-01-01 02:00+02'"),
    "a key in another order": keyed("jsonb", """'{"a": 1, "b": 2}'""", """'{"b": 2, "a": 1}'"""),
}


def reads_twice(sql: str) -> Program:
    async def work(links: Links) -> bool:
        async with database(links) as connection:
            return bool(await connection.fetch(sql) == await connection.fetch(sql))

    return work


def runs(sql: str, *, is_transaction: bool) -> Program:
    async def work(links: Links) -> None:
        async with database(links) as connection:
            if is_transaction:
                async with connection.transaction():
                    await connection.execute(sql)
            else:
                await connection.execute(sql)

    return work


@pytest.mark.parametrize(
    "is_transaction",
    [
        pytest.param(False, id="alone"),
        pytest.param(True, id="in a transaction", marks=pytest.mark.prove),
    ],
)
@pytest.mark.parametrize("name", PAIRS)
async def test_what_a_reader_finds_may_change_in_between(
    servers: Servers, name: str, *, is_transaction: bool
) -> None:
    pair = PAIRS[name]
    with pytest.raises(NotGreenError, match="w1 with True instead of False"):
        await explore(
            reads_twice(pair.read),
            runs(pair.change, is_transaction=is_transaction),
            setup=runs(f"{SHOP} {pair.made}", is_transaction=False),
            servers=servers,
            bounds=Bounds(shrinking=0),
        )


@pytest.mark.parametrize("setting", ["SET search_path = other", "SET SCHEMA 'other'"])
async def test_the_last_statement_runs_under_what_its_connection_had_set(
    servers: Servers, setting: str
) -> None:
    tables = "(id int PRIMARY KEY, amount int)"
    setup = f"""
        CREATE SCHEMA other; CREATE TABLE other.stock {tables}; CREATE TABLE stock {tables};
        INSERT INTO other.stock VALUES (1, 0); INSERT INTO stock VALUES (1, 0)
        """

    async def sell_elsewhere(links: Links) -> None:
        async with database(links) as connection:
            await connection.execute(setting)
            await connection.execute(SELL)

    with pytest.raises(NotGreenError, match="w1 with True instead of False"):
        await explore(
            reads_twice("SELECT amount FROM other.stock WHERE id = 1"),
            sell_elsewhere,
            setup=runs(setup, is_transaction=False),
            servers=servers,
            bounds=Bounds(shrinking=0),
        )
