-- Returns whether this role may delete events and dead letters. It reads the system catalogs, since this role may have
-- no rights on the schema: PostgreSQL would refuse a query that names it.
select pg_catalog.bool_and(
    pg_catalog.has_schema_privilege(n.oid, 'usage')
    and pg_catalog.has_table_privilege(c.oid, 'select')
    and (c.relname operator(pg_catalog.=) 'watch' or pg_catalog.has_table_privilege(c.oid, 'delete'))
)
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
where
    n.nspname operator(pg_catalog.=) 'bridge'
    and c.relname operator(pg_catalog.=) any (array['event', 'dead_letter', 'watch']::pg_catalog.name[])
