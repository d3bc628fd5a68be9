-- Work is handed on: to the queue, chunk by chunk, with its attempts counted.

ALTER TABLE work_requests
    -- Which generation was given to the queue last, and when: the queue may lose what it holds.
    ADD COLUMN handed_on_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN handed_on_at timestamptz,
    -- How often the attempted generation was begun: counted and committed before the work, so that
    -- work that kills its worker is counted too.
    ADD COLUMN attempted_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN attempted_at timestamptz,
    -- A dead letter: this generation was given up, for this reason. Asking again revives it.
    ADD COLUMN dead_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN failure text NOT NULL DEFAULT '',
    ADD CONSTRAINT work_requests_handing_on CHECK (
        handed_on_generation BETWEEN 0 AND generation
        AND attempted_generation BETWEEN 0 AND generation
        AND dead_generation BETWEEN 0 AND generation
        AND attempts >= 0 AND length(failure) <= 2000);
CREATE INDEX work_requests_waiting ON work_requests (requested_at, id)
    WHERE handed_on_generation < generation AND finished_generation < generation;
CREATE INDEX work_requests_handed_on ON work_requests (handed_on_at, id)
    WHERE handed_on_generation = generation AND finished_generation < generation;

-- A calculation's policies, in stretches of rising id that are calculated in one transaction each.
-- The rows of an earlier generation are written over: nothing is ever deleted.
CREATE TABLE work_chunks (
    request_id bigint NOT NULL REFERENCES work_requests,
    number integer NOT NULL CHECK (number >= 1),
    -- Of the request, as it was read before the chunks were cut.
    generation bigint NOT NULL CHECK (generation >= 1),
    -- How many chunks that generation has; each of them knows.
    count integer NOT NULL CHECK (count >= number),
    zone text NOT NULL,
    -- The policies whose id lies in (after_id, up_to_id].
    after_id bigint NOT NULL,
    up_to_id bigint NOT NULL CHECK (up_to_id > after_id),
    -- How many of them covered a date of the request when it was cut.
    policies integer NOT NULL CHECK (policies >= 1),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempted_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (request_id, number)
);
CREATE TRIGGER work_chunks_keep BEFORE DELETE ON work_chunks FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('a newer plan is written over an older one');
CREATE TRIGGER work_chunks_keep_all BEFORE TRUNCATE ON work_chunks FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('a newer plan is written over an older one');
ALTER TABLE work_chunks ENABLE ALWAYS TRIGGER work_chunks_keep;
ALTER TABLE work_chunks ENABLE ALWAYS TRIGGER work_chunks_keep_all;

-- For which local dates a group's index has been evaluated, because a policy was stored that covers
-- them: readings that come later ask for themselves, those that were there before do not.
CREATE TABLE evaluated_groups (
    product_version_id bigint NOT NULL REFERENCES product_versions,
    region text NOT NULL,
    zone text NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (product_version_id, region, zone),
    CONSTRAINT evaluated_groups_days CHECK (first_day <= last_day)
);

-- Whoever wakes the relay need not be asked for again and again: one notice a transaction.
CREATE FUNCTION notice_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY claimwright_work;
    RETURN NULL;
END $$;
CREATE TRIGGER work_requests_notice AFTER INSERT OR UPDATE OF generation ON work_requests
    FOR EACH STATEMENT EXECUTE FUNCTION notice_work();
ALTER TABLE work_requests ENABLE ALWAYS TRIGGER work_requests_notice;

-- Asking once more is harmless, and the only way in which the application may ask by itself.
CREATE FUNCTION request_again(policy_ids bigint[]) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
    SELECT request_policies(policy_ids);
$$;
-- The events whose local date, or UTC date where they were stored as such, lies in these days.
CREATE FUNCTION request_days_again(first_day date, last_day date, of_product text, of_region text)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    WITH asked AS (
        INSERT INTO work_requests AS r (kind, product_version_id, region, subject, day)
        SELECT 'calculate', e.product_version_id, e.region, e.zone,
               coalesce(e.local_date, (e.triggered_at AT TIME ZONE 'UTC')::date) AS day
        FROM risk_events e JOIN product_versions v ON v.id = e.product_version_id
        WHERE coalesce(e.local_date, (e.triggered_at AT TIME ZONE 'UTC')::date)
              BETWEEN first_day AND last_day
          AND (of_product IS NULL OR v.code = of_product)
          AND (of_region IS NULL OR e.region = of_region)
        GROUP BY e.product_version_id, e.region, e.zone, day
        ORDER BY e.product_version_id, e.region, e.zone, day
        ON CONFLICT ON CONSTRAINT work_requests_key
        DO UPDATE SET generation = r.generation + 1, requested_at = now()
        RETURNING 1)
    SELECT count(*) FROM asked;
$$;

GRANT SELECT ON work_chunks, evaluated_groups TO claimwright_app;
GRANT INSERT ON work_chunks, evaluated_groups TO claimwright_app;
GRANT UPDATE (generation, count, zone, after_id, up_to_id, policies, attempts, attempted_at,
              finished_at) ON work_chunks TO claimwright_app;
GRANT UPDATE (first_day, last_day) ON evaluated_groups TO claimwright_app;
GRANT UPDATE (handed_on_generation, handed_on_at, attempted_generation, attempts, attempted_at,
              dead_generation, failure) ON work_requests TO claimwright_app;
REVOKE EXECUTE ON FUNCTION notice_work, request_again, request_days_again FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_again, request_days_again TO claimwright_app;
