-- Deletes the events of these tables. The flush itself is a change: the event that it starts in a watch on `truncate`
-- stays.
delete from bridge.event
where xid operator(pg_catalog.<>) pg_catalog.pg_current_xact_id() and watch operator(pg_catalog.=) any (
    select w.name from bridge.watch as w
    where w.relation::pg_catalog.oid operator(pg_catalog.=) any (%(tables)s::pg_catalog.regclass[]::pg_catalog.oid[])
)
