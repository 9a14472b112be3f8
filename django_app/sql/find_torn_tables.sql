-- Returns the watched tables that lack a trigger of their watch.
select t::pg_catalog.oid::pg_catalog.int8 from bridge._torn() as t
