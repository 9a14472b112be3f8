-- Returns whether this role may read what the testing kit reads; null without schema bridge. It reads the system
-- catalogs, since PostgreSQL would refuse a query that names the tables, and the test's transaction would be lost.
select pg_catalog.bool_and(
    pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select')
)
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
where
    n.nspname operator(pg_catalog.=) 'bridge'
    and c.relname operator(pg_catalog.=) any (array['event', 'watch', 'sendable']::pg_catalog.name[])
