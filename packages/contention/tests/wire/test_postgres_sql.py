import pytest

from contention.wire.postgres_sql import Verb, split_statements


def texts(sql: str, *, conforming: bool = True) -> list[str]:
    return [one.text for one in split_statements(sql, conforming=conforming)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ; ;\n-- nothing\n/* nothing; */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("a; b;c", ["a", "b", "c"]),
        ("SELECT ';' ; x", ["SELECT ';'", "x"]),
        ("SELECT 'it''s;' ; x", ["SELECT 'it''s;'", "x"]),
        (r"SELECT 'a\'; x", [r"SELECT 'a\'", "x"]),
        (r"SELECT E'a\';' ; x", [r"SELECT E'a\';'", "x"]),
        (r"SELECT e'\\'; x", [r"SELECT e'\\'", "x"]),
        ('SELECT ";" ; x', ['SELECT ";"', "x"]),
        ('SELECT "a"";" ; x', ['SELECT "a"";"', "x"]),
        ("SELECT 1 /* ; /* ; */ ; */ ; x", ["SELECT 1 /* ; /* ; */ ; */", "x"]),
        ("SELECT 1 -- ;\n; x", ["SELECT 1 -- ;", "x"]),
        ("SELECT $$;$$; x", ["SELECT $$;$$", "x"]),
        ("SELECT $a$ $$ ; $b$ ; $a$; x", ["SELECT $a$ $$ ; $b$ ; $a$", "x"]),
        ("SELECT a$b$; x$b$", ["SELECT a$b$", "x$b$"]),
        ("SELECT $1;SELECT $2", ["SELECT $1", "SELECT $2"]),
        ("SELECT 'open ; x", ["SELECT 'open ; x"]),
        ("SELECT $q$ open ; x", ["SELECT $q$ open ; x"]),
        ("SELECT 1 /* open ; x", ["SELECT 1 /* open ; x"]),
        ("CREATE RULE r AS ON INSERT TO t DO (a; b); x", None),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC a; SELECT CASE 1 END; b; END; x", None),
        ("SELECT date'2025-01-15'; x", ["SELECT date'2025-01-15'", "x"]),
        ("SELECT U&'\\0041;' ; x", ["SELECT U&'\\0041;'", "x"]),
    ],
)
def test_a_text_is_split_where_the_server_splits_it(sql: str, expected: list[str] | None) -> None:
    assert texts(sql) == (expected if expected is not None else [sql[:-3], "x"])


def test_without_conforming_strings_a_backslash_quotes() -> None:
    assert texts(r"SELECT 'a\'; x", conforming=False) == [r"SELECT 'a\'; x"]
    assert texts(r"SELECT 'a\';'; x", conforming=False) == [r"SELECT 'a\';'", "x"]


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("BEGIN", Verb.BEGIN),
        ("/* tag */ begin isolation level serializable", Verb.BEGIN),
        ("START TRANSACTION", Verb.BEGIN),
        ("COMMIT AND CHAIN", Verb.COMMIT),
        ("END WORK", Verb.COMMIT),
        ("-- done\nROLLBACK", Verb.ROLLBACK),
        ("ABORT", Verb.ROLLBACK),
        ("ROLLBACK TO s", Verb.ROLLBACK_TO),
        ("ROLLBACK WORK TO SAVEPOINT s", Verb.ROLLBACK_TO),
        ("SAVEPOINT s", Verb.SAVEPOINT),
        ("RELEASE SAVEPOINT s", Verb.RELEASE),
        ("PREPARE TRANSACTION 'x'", Verb.PREPARE_TRANSACTION),
        ("COMMIT PREPARED 'x'", Verb.COMMIT_PREPARED),
        ("ROLLBACK PREPARED 'x'", Verb.ROLLBACK_PREPARED),
        ("SET LOCAL lock_timeout = '1s'", Verb.SET),
        ("RESET ALL", Verb.SET),
        ("DEALLOCATE ALL", Verb.SET),
        ("SHOW transaction isolation level", Verb.INTROSPECTION),
        ("select pg_catalog.version()", Verb.INTROSPECTION),
        ("WITH RECURSIVE typeinfo_tree(\n    oid, ns", Verb.INTROSPECTION),
        ("WITH RECURSIVE typeinfo_trees(x) AS (SELECT 1)", Verb.OTHER),
        ("SELECT 1", Verb.OTHER),
        ('"begin"', Verb.OTHER),
        ("'commit'", Verb.OTHER),
        ("beginning", Verb.OTHER),
    ],
)
def test_first_words_tell_what_a_statement_does_to_its_transaction(sql: str, verb: Verb) -> None:
    assert [one.verb for one in split_statements(sql)] == [verb]


@pytest.mark.parametrize(
    "sql",
    [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "DISCARD ALL",
        "PREPARE p AS DELETE FROM t",
        "select current_schema(), pg_advisory_lock(1)",
        "SELECT pg_catalog.version() FROM account FOR UPDATE",
        "LOCK TABLE account",
        "SELECT set_config('a.b', '1', false)",
    ],
)
def test_what_reads_writes_or_unlocks_is_never_taken_for_control(sql: str) -> None:
    assert [one.verb for one in split_statements(sql)] == [Verb.OTHER]


def test_a_long_text_is_split_in_time_in_proportion_to_its_length() -> None:
    values = ", ".join("('a;b', $$c;d$$, E'e\\';f')" for _ in range(20_000))
    assert len(texts(f"INSERT INTO t VALUES {values}; SELECT 1")) == 2
    assert len(texts("'" + "''" * 100_000)) == 1
    assert len(texts("E'" + "\\" * 100_001)) == 1
