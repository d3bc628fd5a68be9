-- The key: whoever writes, with any locks or none, these functions refuse what would pay twice.
--
-- They belong to the schema's owner and run with the owner's rights (SECURITY DEFINER), because
-- the application's role may not touch the accounts that they keep. {schema} is filled in by the
-- migration; pg_temp comes last so that nobody's temporary table can stand in for a real one.

-- Refusals that never have an exception: no row is removed, no fact is rewritten.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END $$;

DO $$
DECLARE kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['claims', 'risk_events', 'readings', 'quarantined_readings',
                                'event_withdrawals', 'policies', 'product_versions',
                                'variable_units', 'known_zones', 'known_currencies']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE DELETE ON %I FOR EACH STATEMENT
            EXECUTE FUNCTION refuse_change(''rows are only ever added'')', kept || '_keep', kept);
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT
            EXECUTE FUNCTION refuse_change(''rows are only ever added'')',
            kept || '_keep_all', kept);
    END LOOP;
END $$;

CREATE TRIGGER product_versions_immutable BEFORE UPDATE ON product_versions FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('a version of a product never changes; add a new one');
CREATE TRIGGER readings_immutable BEFORE UPDATE ON readings FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('another value for the same instant is a restatement');
CREATE TRIGGER quarantined_readings_immutable BEFORE UPDATE ON quarantined_readings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a quarantine is only ever added');
CREATE TRIGGER variable_units_immutable BEFORE UPDATE ON variable_units
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a variable keeps its unit');
CREATE TRIGGER known_zones_immutable BEFORE UPDATE ON known_zones
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a name is only ever added');
CREATE TRIGGER known_currencies_immutable BEFORE UPDATE ON known_currencies
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a name is only ever added');
CREATE TRIGGER event_withdrawals_immutable BEFORE UPDATE ON event_withdrawals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a withdrawal is only ever added');
CREATE TRIGGER risk_events_immutable
    BEFORE UPDATE OF id, product_version_id, region, triggered_at, tier_level, value, zone,
        local_date, reading_ids, created_at ON risk_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('only the note of an event can change');
CREATE TRIGGER policies_immutable
    BEFORE UPDATE OF id, policy_number, product_version_id, coverage_region, coverage_minor,
        limit_minor, currency, zone, first_day, created_at ON policies
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a stored policy is extended or cancelled');
CREATE TRIGGER claims_immutable
    BEFORE UPDATE OF policy_id, id, event_id, event_date, period_key, tier_level,
        attachment_minor, exhaustion_minor, payout_percentage, terms_sha256, calculation_id,
        engine_version, calculated_at ON claims
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('only the status of a claim can change');

-- Terms measure in the unit of their variable. The two statements are apart because the second
-- has to see what the first has waited for.
CREATE FUNCTION check_units() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE wrong record;
BEGIN
    INSERT INTO variable_units (variable, unit)
    SELECT DISTINCT variable, terms::jsonb #>> '{index,unit}' FROM new_versions ORDER BY 1
    ON CONFLICT DO NOTHING;
    SELECT n.code, n.variable INTO wrong
    FROM new_versions n
    WHERE NOT EXISTS (SELECT FROM variable_units u
                      WHERE u.variable = n.variable AND u.unit = n.terms::jsonb #>> '{index,unit}')
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'product % measures % in another unit than is known', wrong.code,
            wrong.variable
            USING ERRCODE = 'check_violation', CONSTRAINT = 'product_versions_unit_of_variable';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER product_versions_unit AFTER INSERT ON product_versions
    REFERENCING NEW TABLE AS new_versions FOR EACH STATEMENT EXECUTE FUNCTION check_units();

-- An event's tier is one of its terms' tiers, and its zone one in which a policy can be held.
CREATE FUNCTION check_new_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE wrong record;
BEGIN
    SELECT e.tier_level, p.code INTO wrong
    FROM new_events e LEFT JOIN product_versions p ON p.id = e.product_version_id
    WHERE NOT EXISTS (
        SELECT FROM jsonb_array_elements(p.terms::jsonb #> '{payout,tiers}') AS tier
        WHERE tier ->> 'level' = e.tier_level)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is not a tier of product %', wrong.tier_level, wrong.code
            USING ERRCODE = 'check_violation', CONSTRAINT = 'risk_events_tier_of_terms';
    END IF;
    SELECT zone INTO wrong FROM new_events e
    WHERE zone IS NOT NULL AND NOT EXISTS (SELECT FROM known_zones z WHERE z.name = e.zone) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is not a known IANA time zone', wrong.zone
            USING ERRCODE = 'check_violation', CONSTRAINT = 'risk_events_zone_known';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER risk_events_tier AFTER INSERT ON risk_events
    REFERENCING NEW TABLE AS new_events FOR EACH STATEMENT EXECUTE FUNCTION check_new_events();

-- Only the first value known of an instant counts. A reading that says it restates one counts for
-- nothing, so it has to restate the first one of its own instant: no reading is hidden by mistake.
CREATE FUNCTION check_restatements() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE wrong record;
BEGIN
    SELECT n.region, n.variable, n.observed_at INTO wrong
    FROM new_readings n LEFT JOIN readings f ON f.id = n.restates_id
    WHERE n.restates_id IS NOT NULL
      AND (f.region, f.variable, f.observed_at, f.restates_id)
          IS DISTINCT FROM (n.region, n.variable, n.observed_at, NULL)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a reading of %, % at % does not restate the first of its instant',
            wrong.region, wrong.variable, wrong.observed_at
            USING ERRCODE = 'check_violation', CONSTRAINT = 'readings_restate_their_instant';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER readings_restate AFTER INSERT ON readings
    REFERENCING NEW TABLE AS new_readings FOR EACH STATEMENT
    EXECUTE FUNCTION check_restatements();

-- A policy's zone and currency are known. No foreign keys, because a session that switches ordinary
-- triggers off switches those off with them.
CREATE FUNCTION check_policy_names() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE wrong record;
BEGIN
    SELECT policy_number, zone INTO wrong FROM new_policies n
    WHERE NOT EXISTS (SELECT FROM known_zones z WHERE z.name = n.zone) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'policy %: % is not a known IANA time zone', wrong.policy_number, wrong.zone
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_zone_known';
    END IF;
    SELECT policy_number, currency INTO wrong FROM new_policies n
    WHERE NOT EXISTS (SELECT FROM known_currencies c WHERE c.code = n.currency) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'policy %: % is not a known ISO 4217 currency', wrong.policy_number,
            wrong.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_currency_known';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER policies_names AFTER INSERT ON policies
    REFERENCING NEW TABLE AS new_policies FOR EACH STATEMENT EXECUTE FUNCTION check_policy_names();

-- A stored policy has the limit of its terms, and an account from its first moment.
CREATE FUNCTION open_policy_accounts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE wrong record;
BEGIN
    SELECT n.policy_number, n.limit_minor,
           round(n.coverage_minor * p.aggregate_limit_percent / 100) AS due_minor INTO wrong
    FROM new_policies n LEFT JOIN product_versions p ON p.id = n.product_version_id
    WHERE n.limit_minor IS DISTINCT FROM round(n.coverage_minor * p.aggregate_limit_percent / 100)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'policy % has an aggregate limit of %, its terms make it %',
            wrong.policy_number, wrong.limit_minor, wrong.due_minor
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_limit_of_terms';
    END IF;
    INSERT INTO policy_accounts (policy_id) SELECT id FROM new_policies ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER policies_accounts AFTER INSERT ON policies
    REFERENCING NEW TABLE AS new_policies FOR EACH STATEMENT
    EXECUTE FUNCTION open_policy_accounts();

-- A policy's cover can be extended, and ended early, but never away from under a live claim.
CREATE FUNCTION check_policy_days() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF NEW.last_day < OLD.last_day THEN
        RAISE EXCEPTION 'policy % is extended or cancelled, never shortened', OLD.policy_number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_never_shortened';
    END IF;
    IF NEW.cancelled_on IS NOT NULL THEN
        -- Every new claim moves the account: whoever stores one now is waited for, and waits.
        UPDATE policy_accounts SET paid_minor = paid_minor WHERE policy_id = OLD.id;
        PERFORM FROM claims c
        WHERE c.policy_id = OLD.id AND c.status <> 'void' AND c.event_date >= NEW.cancelled_on;
        IF FOUND THEN
            RAISE EXCEPTION 'policy % has live claims on or after %; void them first',
                OLD.policy_number, NEW.cancelled_on
                USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_cancelled_after_claims';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER policies_days BEFORE UPDATE OF last_day, cancelled_on ON policies
    FOR EACH ROW EXECUTE FUNCTION check_policy_days();

-- What the guard keeps is written by the guard alone: from a trigger of another table.
CREATE FUNCTION refuse_direct_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION '% on % is refused: the guard of the claims keeps it', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER policy_accounts_guarded BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON policy_accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_direct_write();
CREATE TRIGGER period_accounts_guarded BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON period_accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_direct_write();
CREATE TRIGGER claim_transitions_immutable BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON claim_transitions FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('the life cycle changes with a migration');

-- New claims move the accounts up, by compare and swap.
--
-- A session keeps the plan of its first statement, made when tables may have been small; by index it
-- is right at any size. No transition table may be joined to another in here: without hash and
-- merge joins that would be quadratic.
CREATE FUNCTION admit_claims() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    wrong record;
    periods bigint;
    opened bigint;
    moved bigint;
BEGIN
    -- Layers of one statement follow one another. Widths that merely add up would not do: an
    -- overlap and a gap can cancel.
    PERFORM FROM (
        SELECT attachment_minor, lag(exhaustion_minor) OVER (
            PARTITION BY policy_id, period_key ORDER BY attachment_minor, exhaustion_minor
        ) AS below FROM new_claims) layers
    WHERE below IS NOT NULL AND attachment_minor <> below;
    IF FOUND THEN
        RAISE EXCEPTION 'layers of one policy and period do not follow one another'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'claims_layers_contiguous';
    END IF;

    -- The policy's total. The row lock this takes serialises every writer of one policy.
    UPDATE policy_accounts a SET paid_minor = a.paid_minor + w.width_minor
    FROM (SELECT policy_id, sum(exhaustion_minor - attachment_minor) AS width_minor
          FROM new_claims GROUP BY policy_id) w
    JOIN policies p ON p.id = w.policy_id
    WHERE a.policy_id = w.policy_id AND a.paid_minor + w.width_minor <= p.limit_minor;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> (SELECT count(DISTINCT policy_id) FROM new_claims) THEN
        IF EXISTS (SELECT FROM new_claims n
                   WHERE NOT EXISTS (SELECT FROM policies p WHERE p.id = n.policy_id)) THEN
            RAISE EXCEPTION 'a claim''s policy does not exist'
                USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'claims_policy_exists';
        END IF;
        RAISE EXCEPTION 'claims would take a policy above its aggregate limit'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'claims_within_limit';
    END IF;

    -- A claim is born calculated, for its own policy's event, in the period of the event's date,
    -- with a layer that lies within the cover. Read under the account's lock, which a change of
    -- the policy's days takes too. Outer joins, because a session that switches ordinary triggers
    -- off switches the foreign keys off with them.
    SELECT n.policy_id, n.period_key, n.event_id,
           CASE
             WHEN v.id IS NULL OR e.id IS NULL THEN 'its terms or its event do not exist'
             WHEN n.status <> 'calculated' THEN 'a claim is born calculated'
             WHEN n.exhaustion_minor > p.coverage_minor THEN 'its layer ends above the cover'
             WHEN n.terms_sha256 <> v.terms_sha256 THEN 'it was calculated with other terms'
             WHEN e.product_version_id <> p.product_version_id THEN 'its event is of other terms'
             WHEN e.region <> p.coverage_region THEN 'its event is of another region'
             WHEN e.zone <> p.zone THEN 'its event is of another zone'
             WHEN e.tier_level <> n.tier_level THEN 'its event is of another tier'
             WHEN e.local_date <> n.event_date
               OR abs(n.event_date - (e.triggered_at AT TIME ZONE 'UTC')::date) > 1
               THEN 'its date is not its event''s'
             WHEN n.event_date NOT BETWEEN p.first_day AND p.last_day
               OR n.event_date >= p.cancelled_on THEN 'its date is not covered'
             ELSE 'its period is not that of its date'
           END AS reason INTO wrong
    FROM new_claims n
    JOIN policies p ON p.id = n.policy_id
    LEFT JOIN product_versions v ON v.id = p.product_version_id
    LEFT JOIN risk_events e ON e.id = n.event_id
    WHERE v.id IS NULL OR e.id IS NULL
       OR n.status <> 'calculated'
       OR n.exhaustion_minor > p.coverage_minor
       OR n.terms_sha256 <> v.terms_sha256
       OR e.product_version_id <> p.product_version_id
       OR e.region <> p.coverage_region
       OR e.zone <> p.zone
       OR e.tier_level <> n.tier_level
       OR e.local_date <> n.event_date
       OR abs(n.event_date - (e.triggered_at AT TIME ZONE 'UTC')::date) > 1
       OR n.event_date NOT BETWEEN p.first_day AND p.last_day
       OR n.event_date >= p.cancelled_on
       OR n.period_key <> CASE v.frequency
            WHEN 'once_per_day' THEN to_char(n.event_date, 'YYYY-MM-DD')
            WHEN 'once_per_month' THEN to_char(n.event_date, 'YYYY-MM')
            ELSE 'term' END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a claim of policy %, period %, event % is refused: %',
            wrong.policy_id, wrong.period_key, wrong.event_id, wrong.reason
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claims_fit_their_event';
    END IF;

    -- Whatever anybody's time zone data say of its date, an event pays a policy in one period.
    PERFORM FROM new_claims n JOIN claims c ON c.policy_id = n.policy_id
    WHERE c.event_id = n.event_id AND c.period_key <> n.period_key AND c.status <> 'void';
    IF FOUND THEN
        RAISE EXCEPTION 'an event of a claim has a live claim in another period'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claims_event_in_one_period';
    END IF;

    -- Each period, from exactly where its live layers end.
    SELECT count(DISTINCT (policy_id, period_key)) INTO periods FROM new_claims;
    INSERT INTO period_accounts AS a (policy_id, period_key, exhaustion_minor)
    SELECT policy_id, period_key, max(exhaustion_minor) FROM new_claims
    GROUP BY policy_id, period_key HAVING min(attachment_minor) = 0
    ON CONFLICT (policy_id, period_key) DO UPDATE SET exhaustion_minor = EXCLUDED.exhaustion_minor
    WHERE a.exhaustion_minor = 0;
    GET DIAGNOSTICS opened = ROW_COUNT;
    moved := 0;
    IF opened < periods THEN
        UPDATE period_accounts a SET exhaustion_minor = m.high
        FROM (SELECT policy_id, period_key, min(attachment_minor) AS low,
                     max(exhaustion_minor) AS high
              FROM new_claims GROUP BY policy_id, period_key HAVING min(attachment_minor) > 0) m
        WHERE (a.policy_id, a.period_key) = (m.policy_id, m.period_key)
          AND a.exhaustion_minor = m.low;
        GET DIAGNOSTICS moved = ROW_COUNT;
    END IF;
    IF opened + moved <> periods THEN
        RAISE EXCEPTION 'a layer does not begin where the live layers of its period end'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'claims_layers_contiguous';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER claims_admitted AFTER INSERT ON claims
    REFERENCING NEW TABLE AS new_claims FOR EACH STATEMENT EXECUTE FUNCTION admit_claims();

-- A change of status follows the life cycle; what becomes void moves the accounts down again,
-- from the top of its period.
CREATE FUNCTION move_claims() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
    wrong record;
    periods bigint; broken bigint; moved bigint;
BEGIN
    SELECT c.* INTO wrong
    FROM (SELECT policy_id, id, min(status) FILTER (WHERE NOT is_after) AS from_status,
                 min(status) FILTER (WHERE is_after) AS to_status
          FROM (SELECT policy_id, id, status, false AS is_after FROM before_claims
                UNION ALL
                SELECT policy_id, id, status, true FROM after_claims) AS both_sides
          GROUP BY policy_id, id) AS c
    WHERE c.from_status <> c.to_status
      AND (c.from_status, c.to_status) NOT IN (SELECT from_status, to_status FROM claim_transitions)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'claim % of policy % is % and cannot become %',
            wrong.id, wrong.policy_id, wrong.from_status, wrong.to_status
            USING ERRCODE = 'check_violation', TABLE = 'claims', CONSTRAINT = 'claims_life_cycle';
    END IF;

    IF NOT EXISTS (SELECT FROM after_claims WHERE status = 'void') THEN RETURN NULL; END IF;

    SELECT count(*), count(*) FILTER (WHERE NOT contiguous) INTO periods, broken
    FROM (SELECT policy_id, period_key,
                 bool_and(attachment_minor = below_minor) IS NOT FALSE AS contiguous
          FROM (SELECT policy_id, period_key, attachment_minor, lag(exhaustion_minor) OVER (
                    PARTITION BY policy_id, period_key ORDER BY attachment_minor, exhaustion_minor
                ) AS below_minor
                FROM (SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                      FROM after_claims WHERE status = 'void'
                      EXCEPT
                      SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                      FROM before_claims WHERE status = 'void') AS voided) AS layers
          GROUP BY policy_id, period_key) AS p;
    IF broken > 0 THEN
        RAISE EXCEPTION 'layers become void from the top of their period downwards'
            USING ERRCODE = 'exclusion_violation', TABLE = 'claims',
                  CONSTRAINT = 'claims_layers_contiguous';
    END IF;

    UPDATE policy_accounts a SET paid_minor = a.paid_minor - w.width_minor
    FROM (SELECT policy_id, sum(exhaustion_minor - attachment_minor)::bigint AS width_minor
          FROM (SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                FROM after_claims WHERE status = 'void'
                EXCEPT
                SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                FROM before_claims WHERE status = 'void') AS voided
          GROUP BY policy_id ORDER BY policy_id) AS w
    WHERE a.policy_id = w.policy_id;

    UPDATE period_accounts a SET exhaustion_minor = m.low
    FROM (SELECT policy_id, period_key, min(attachment_minor) AS low, max(exhaustion_minor) AS high
          FROM (SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                FROM after_claims WHERE status = 'void'
                EXCEPT
                SELECT policy_id, id, period_key, attachment_minor, exhaustion_minor
                FROM before_claims WHERE status = 'void') AS voided
          GROUP BY policy_id, period_key) AS m
    WHERE a.policy_id = m.policy_id AND a.period_key = m.period_key
      AND a.exhaustion_minor = m.high;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> periods THEN
        RAISE EXCEPTION 'layers become void from the top of their period downwards'
            USING ERRCODE = 'exclusion_violation', TABLE = 'claims',
                  CONSTRAINT = 'claims_layers_contiguous';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER claims_moved AFTER UPDATE ON claims
    REFERENCING OLD TABLE AS before_claims NEW TABLE AS after_claims
    FOR EACH STATEMENT EXECUTE FUNCTION move_claims();
