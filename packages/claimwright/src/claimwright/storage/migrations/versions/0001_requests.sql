-- Nothing is lost: what is stored asks for the work it causes, in the same transaction, whoever
-- stores it. Nothing is decided here from what the storing transaction can see; workers decide in
-- later transactions. Keys are sorted, so that two storing transactions cannot deadlock.

CREATE FUNCTION request_evaluations() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO work_requests AS r (kind, region, subject, day)
    SELECT 'evaluate', region, variable, (observed_at AT TIME ZONE 'UTC')::date AS day
    FROM new_readings WHERE restates_id IS NULL
    GROUP BY region, variable, day ORDER BY region, variable, day
    ON CONFLICT ON CONSTRAINT work_requests_key
    DO UPDATE SET generation = r.generation + 1, requested_at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER readings_requests AFTER INSERT ON readings
    REFERENCING NEW TABLE AS new_readings FOR EACH STATEMENT
    EXECUTE FUNCTION request_evaluations();

CREATE FUNCTION request_calculations() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO work_requests AS r (kind, product_version_id, region, subject, day)
    SELECT 'calculate', product_version_id, region, zone,
           coalesce(local_date, (triggered_at AT TIME ZONE 'UTC')::date) AS day
    FROM new_events
    GROUP BY product_version_id, region, zone, day ORDER BY product_version_id, region, zone, day
    ON CONFLICT ON CONSTRAINT work_requests_key
    DO UPDATE SET generation = r.generation + 1, requested_at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER risk_events_requests AFTER INSERT ON risk_events
    REFERENCING NEW TABLE AS new_events FOR EACH STATEMENT
    EXECUTE FUNCTION request_calculations();

CREATE FUNCTION request_policies(policy_ids bigint[]) RETURNS void LANGUAGE sql
SET search_path = {schema}, pg_temp AS $$
    INSERT INTO work_requests AS r (kind, policy_id)
    SELECT DISTINCT 'policy', id FROM unnest(policy_ids) AS id ORDER BY id
    ON CONFLICT ON CONSTRAINT work_requests_key
    DO UPDATE SET generation = r.generation + 1, requested_at = now();
$$;

CREATE FUNCTION request_changed_policies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'policies' THEN
        PERFORM request_policies(array(SELECT id FROM changed));
    ELSE
        PERFORM request_policies(array(SELECT policy_id FROM changed));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER policies_requests AFTER INSERT ON policies
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION request_changed_policies();
CREATE TRIGGER policies_update_requests AFTER UPDATE ON policies
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION request_changed_policies();
CREATE TRIGGER event_withdrawals_requests AFTER INSERT ON event_withdrawals
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION request_changed_policies();

CREATE FUNCTION request_voided_policies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM after_claims WHERE status = 'void') THEN
        PERFORM request_policies(array(
            SELECT policy_id FROM (
                SELECT policy_id, id FROM after_claims WHERE status = 'void'
                EXCEPT
                SELECT policy_id, id FROM before_claims WHERE status = 'void') AS voided));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER claims_void_requests AFTER UPDATE ON claims
    REFERENCING OLD TABLE AS before_claims NEW TABLE AS after_claims
    FOR EACH STATEMENT EXECUTE FUNCTION request_voided_policies();

-- Not even a superuser's session that switches ordinary triggers off escapes the guards above or
-- stores anything in silence.
DO $$
DECLARE guard record;
BEGIN
    FOR guard IN
        SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', guard.relname, guard.tgname);
    END LOOP;
END $$;
