"""A database with something of everything, and all that it holds as text."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

SOMETHING_OF_EVERYTHING = r"""
    CREATE SCHEMA other;
    CREATE TYPE colour AS ENUM ('red', 'green');
    CREATE DOMAIN percent AS numeric CHECK (VALUE BETWEEN 0 AND 100);
    CREATE TABLE customers (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
        favourite colour, share percent);
    INSERT INTO customers (name, favourite, share) VALUES ('ann', 'red', 1.50), ('bob', NULL, 0);
    CREATE TABLE orders (
        id serial PRIMARY KEY,
        customer int NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
        parent int REFERENCES orders);
    INSERT INTO orders (customer, parent) VALUES (1, NULL), (2, 1), (1, 2);
    CREATE TABLE "odd Names" ("A column" text, "back\slash" text, plain "char");
    INSERT INTO "odd Names" VALUES
        ('it''s', E'a\\b\nc\t', 'x'), (NULL, '', NULL), ('%s %L', '$1', '');
    CREATE TABLE other.kinds (
        a int[], b bytea, c jsonb, d numeric, e float8, f timestamptz, g interval,
        h char(5), i bit(3), j point, k int4range, l customers, m date, n money,
        o inet, p uuid, q boolean);
    INSERT INTO other.kinds VALUES
        ('{1,NULL}', '\x00ff', '{"a": [1, null]}', 'NaN', 'infinity', 'infinity', '1 mon -2 days',
         'ab', B'101', '(1,2)', '[1,5)', ROW(1, 'x', 'X', 'red', 5), '-infinity', 12.34, '10.0.0.1',
         '00000000-0000-0000-0000-000000000001', true);
    INSERT INTO other.kinds VALUES (NULL);
    INSERT INTO other.kinds VALUES ('{}', '', 'null', -0.10, '-0', NULL);
    CREATE TABLE no_columns ();
    INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
    CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
    CREATE TABLE dropped (a int, gone text, b int DEFAULT 5); ALTER TABLE dropped DROP COLUMN gone;
    INSERT INTO dropped VALUES (1, 2); ALTER TABLE dropped ADD COLUMN c int DEFAULT 7;
    CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE parts_new PARTITION OF parts DEFAULT;
    INSERT INTO parts VALUES (1, '2019-01-01'), (1, '2021-01-01');
    CREATE TABLE of_parts (id int, day date, FOREIGN KEY (id, day) REFERENCES parts);
    INSERT INTO of_parts VALUES (1, '2019-01-01');
    CREATE TABLE animals (name text); INSERT INTO animals VALUES ('any');
    CREATE TABLE cats (lives int) INHERITS (animals); INSERT INTO cats VALUES ('tom', 9);
    CREATE TABLE many (id int PRIMARY KEY, t text);
    INSERT INTO many SELECT n, repeat('x', n % 50) FROM generate_series(1, 1000) AS n;
    CREATE TABLE rooms (room int, during int4range, EXCLUDE USING gist (during WITH &&));
    INSERT INTO rooms VALUES (1, '[1,5)'), (1, '[5,9)');
    CREATE SEQUENCE untouched; CREATE SEQUENCE other.used START 7; SELECT nextval('other.used');
    CREATE SEQUENCE cached CACHE 10;
    CREATE VIEW names AS SELECT name FROM customers;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO animals VALUES ('noted'); RETURN NEW; END $$;
    CREATE TRIGGER noting AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
    CREATE RULE shout AS ON INSERT TO unlogged DO ALSO INSERT INTO animals VALUES ('rule');
    ALTER TABLE animals ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON animals USING (false);
    SELECT lo_from_bytea(4711, 'large');
    COMMENT ON TABLE customers IS 'who buys'; GRANT SELECT ON customers TO PUBLIC;
    """

_CATALOGS = {
    "pg_class": """(to_jsonb(t) - '{relfilenode,relpages,reltuples,relallvisible,relallfrozen,
        relfrozenxid,relminmxid,oid,reltype,reltoastrelid,relrowsecurity}'::text[])""",
    "pg_attribute": "t",
    "pg_attrdef": "t",
    "pg_constraint": "t",
    "pg_index": "t",
    "pg_trigger": "t",
    "pg_rewrite": "t",
    "pg_policy": "t",
    "pg_proc": "t",
    "pg_type": "t",
    "pg_enum": "t",
    "pg_sequence": "t",
    "pg_namespace": "CASE WHEN nspname !~ '^pg_(toast_)?temp_' THEN t::text ELSE '' END",
    "pg_depend": "t",
    "pg_description": "t",
    "pg_default_acl": "t",
    "pg_extension": "t",
    "pg_cast": "t",
    "pg_operator": "t",
    "pg_event_trigger": "t",
    "pg_publication": "t",
    "pg_largeobject": "t",
    "pg_largeobject_metadata": "t",
    "pg_statistic_ext": "t",
}
_OTHERS = {
    "prepared": "SELECT gid FROM pg_prepared_xacts",
    "settings of the database": """
        SELECT setrole, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
        WHERE datname = current_database()""",
    "rights on the database": """
        SELECT datdba, datacl::text, datconnlimit FROM pg_database
        WHERE datname = current_database()""",
    "roles": "SELECT rolname FROM pg_roles ORDER BY 1",
}


async def contents(connection: "Connection") -> dict[str, list[str]]:
    """All that the database holds: rows in their physical order, sequences, catalogues."""
    found = {}
    for row in await connection.fetch(
        """
        SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'S', 'v') AND n.nspname !~ '^pg_'
        """
    ):
        name = row["name"]
        if row["kind"] == "S":
            query = f"SELECT last_value, is_called FROM {name}"
        elif row["kind"] == "v":
            query = f"SELECT t::text FROM {name} AS t"
        else:
            query = f"SELECT ctid, t::text FROM ONLY {name} AS t"
        found[name] = await _texts(connection, query)
    for name, expression in _CATALOGS.items():
        query = f"SELECT ({expression})::text FROM {name} AS t ORDER BY 1"
        # The schemas of temporary tables stay when the tables are gone.
        found[name] = [line for line in await _texts(connection, query) if line != "('',)"]
    for name, query in _OTHERS.items():
        found[name] = await _texts(connection, query)
    return found


async def _texts(connection: "Connection", query: str) -> list[str]:
    return [str(tuple(row)) for row in await connection.fetch(query)]


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, object]:
    """What is not equal, with the lines that are on one side alone."""
    return {
        name: sorted(set(before.get(name, ())) ^ set(after.get(name, ()))) or "another order"
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
