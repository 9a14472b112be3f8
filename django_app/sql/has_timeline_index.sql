-- Returns whether the index of the timelines is complete. No row: there is none.
select i.indisvalid
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) i.indexrelid
join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
where n.nspname operator(pg_catalog.=) 'bridge' and c.relname operator(pg_catalog.=) 'event_key'
