-- The application's role owns nothing and can do only what the operations do.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'claimwright_app') THEN
        CREATE ROLE claimwright_app NOLOGIN;
    END IF;
END $$;

GRANT USAGE ON SCHEMA {schema} TO claimwright_app;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO claimwright_app;
GRANT INSERT ON product_versions, policies, readings, quarantined_readings, risk_events, claims,
    event_withdrawals, variable_units TO claimwright_app;
-- The right to change one column is also what SELECT … FOR UPDATE asks for.
GRANT UPDATE (last_day, cancelled_on) ON policies TO claimwright_app;
GRANT UPDATE (note) ON risk_events TO claimwright_app;
GRANT UPDATE (status) ON claims TO claimwright_app;
GRANT UPDATE (finished_generation, finished_at) ON work_requests TO claimwright_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
