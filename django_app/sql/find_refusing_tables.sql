-- Returns the watched tables whose triggers an error of PostgreSQL names.
select t::pg_catalog.oid::pg_catalog.int8 from bridge._refusing(%(text)s::pg_catalog.text) as t
