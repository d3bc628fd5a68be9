"""Who may do what: the application's role owns nothing and does only what the operations do."""

from support.databases import Connection, Connections

from .refusals import outcome, rolled_back
from .world import claim, storing

OWNED = """
    SELECT 'relation ' || c.relname FROM pg_class c WHERE c.relowner = r.oid
    UNION ALL SELECT 'function ' || p.proname FROM pg_proc p WHERE p.proowner = r.oid
    UNION ALL SELECT 'type ' || t.typname FROM pg_type t WHERE t.typowner = r.oid
    UNION ALL SELECT 'schema ' || n.nspname FROM pg_namespace n WHERE n.nspowner = r.oid
    UNION ALL SELECT 'database ' || d.datname FROM pg_database d WHERE d.datdba = r.oid
    """
MAY_WRITE = """
    SELECT c.relname || ' ' || privilege || ' ' || coalesce(string_agg(a.attname, ', '
           ORDER BY a.attnum), '')
    FROM pg_class c
    CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'REFERENCES']) AS privilege
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        AND has_column_privilege('claimwright', c.oid, a.attnum, privilege)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND (privilege <> 'INSERT' OR NOT has_table_privilege('claimwright', c.oid, 'INSERT'))
    GROUP BY c.relname, privilege
    UNION ALL
    SELECT c.relname || ' ' || privilege FROM pg_class c
    CROSS JOIN unnest(ARRAY['INSERT', 'DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN']) AS privilege
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND has_table_privilege('claimwright', c.oid, privilege)
    ORDER BY 1
    """


async def test_the_application_owns_nothing(world_connections: Connections) -> None:
    connection = await world_connections.application()
    for role in ("claimwright", "claimwright_app"):
        rows = await connection.fetch(
            f"SELECT o.* FROM pg_roles r CROSS JOIN LATERAL ({OWNED}) o WHERE r.rolname = $1", role
        )
        assert rows == []


async def test_what_the_application_may_write_is_this_and_nothing_else(
    world_connections: Connections,
) -> None:
    connection = await world_connections.superuser()
    rows = await connection.fetch(MAY_WRITE)
    assert [row[0] for row in rows] == [
        "claims INSERT",
        "claims UPDATE status",
        "evaluated_groups INSERT",
        "evaluated_groups UPDATE first_day, last_day",
        "event_withdrawals INSERT",
        "policies INSERT",
        "policies UPDATE last_day, cancelled_on",
        "product_versions INSERT",
        "quarantined_readings INSERT",
        "readings INSERT",
        "risk_events INSERT",
        "risk_events UPDATE note",
        "variable_units INSERT",
        "work_chunks INSERT",
        (
            "work_chunks UPDATE generation, count, zone, after_id, up_to_id, policies, attempts,"
            " attempted_at, finished_at"
        ),
        (
            "work_requests UPDATE finished_generation, finished_at, handed_on_generation,"
            " handed_on_at, attempted_generation, attempts, attempted_at, dead_generation, failure"
        ),
    ]


async def test_the_application_is_an_ordinary_role(world_connections: Connections) -> None:
    connection = await world_connections.application()
    row = await connection.fetchrow(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = current_user"
    )
    assert row is not None
    assert not any(row)


FORBIDDEN = [
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE policies (id int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "ALTER TABLE claims DISABLE TRIGGER ALL",
    "DROP TRIGGER claims_admitted ON claims",
    "SET session_replication_role = replica",
    "SET ROLE claimwright_owner",
    "SELECT request_policies('{1}')",
    "UPDATE work_requests SET generation = generation + 1",
    "INSERT INTO work_requests (kind, policy_id) VALUES ('policy', 1)",
    "DELETE FROM work_requests",
    "DELETE FROM work_chunks",
    "UPDATE alembic_version SET version_num = '0000'",
    "LOCK TABLE claims IN ACCESS EXCLUSIVE MODE",
]


async def test_the_application_is_not_let_near_the_guards(
    world_connections: Connections,
) -> None:
    connection = await world_connections.application()
    for statement in FORBIDDEN:
        async with rolled_back(connection):
            said = await outcome(connection, statement)
        assert said.startswith("42501"), f"{statement}: {said}"


async def test_every_trigger_fires_whatever_a_session_switches_off(
    world_connections: Connections,
) -> None:
    connection = await world_connections.superuser()
    rows = await connection.fetch(
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"
    )
    assert rows == []


async def test_an_ordinary_trigger_would_be_switched_off(
    writers: dict[str, Connection],
) -> None:
    connection = writers["a superuser with triggers switched off"]
    again = storing(claim(policy=1, event=3, tier="tier3", day="2025-01-15"))
    async with rolled_back(connection):
        await connection.execute("ALTER TABLE claims ENABLE TRIGGER claims_admitted")
        assert await outcome(connection, again) == "stored"


async def test_functions_with_the_owners_rights_look_up_names_in_one_schema(
    world_connections: Connections,
) -> None:
    connection = await world_connections.superuser()
    rows = await connection.fetch(
        "SELECT proname, proconfig FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
    )
    assert rows
    for row in rows:
        assert "search_path=public, pg_temp" in row["proconfig"], row["proname"]
