-- The engine's three roles. Run by psql as the superuser at every start; it can be repeated.
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', wanted)
FROM unnest(ARRAY['claimwright_owner', 'claimwright_app', 'claimwright']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec

ALTER ROLE claimwright_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE claimwright_app NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE claimwright LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
GRANT claimwright_app TO claimwright;
