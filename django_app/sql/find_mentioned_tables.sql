-- Returns the watched tables that a statement mentions.
select t::pg_catalog.oid::pg_catalog.int8 from bridge._mentioned(%(text)s::pg_catalog.text) as t
