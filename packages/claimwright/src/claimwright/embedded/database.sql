-- A database for the engine. Run by psql as the superuser with the variables
--   name       the database,
--   template   what to copy, with nobody connected to it,
--   or_keep    true: an existing one is kept and its privileges are set; false: it is an error.
SET client_min_messages = warning;

SELECT format('CREATE DATABASE %I OWNER claimwright_owner TEMPLATE %I', :'name', :'template')
WHERE NOT (:'or_keep'::boolean AND EXISTS (SELECT FROM pg_database WHERE datname = :'name')) \gexec

-- Privileges on a database are not copied from its template. Nobody else may connect, and nobody
-- but the owner may make tables, temporary ones included: those hide tables of the same name.
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO claimwright_app;

\connect :"name"
SET client_min_messages = warning;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, claimwright_app, claimwright;
GRANT USAGE, CREATE ON SCHEMA public TO claimwright_owner;
GRANT USAGE ON SCHEMA public TO claimwright_app;
