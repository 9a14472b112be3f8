-- Returns whether the indexes that BRIDGE_LOG_INDEXES asks for are complete; null if there are none.
select case
    when pg_catalog.count(*) operator(pg_catalog.>) 0 then
        pg_catalog.bool_and(i.indisvalid) and pg_catalog.count(*) operator(pg_catalog.=) 2
end
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) i.indexrelid
join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
where
    n.nspname operator(pg_catalog.=) 'bridge'
    and c.relname operator(pg_catalog.=) any (array['event_key', 'event_at']::pg_catalog.name[])
