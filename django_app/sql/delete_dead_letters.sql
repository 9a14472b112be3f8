-- Deletes the dead letters of these tables.
delete from bridge.dead_letter
where watch operator(pg_catalog.=) any (
    select w.name from bridge.watch as w
    where w.relation::pg_catalog.oid operator(pg_catalog.=) any (%(tables)s::pg_catalog.regclass[]::pg_catalog.oid[])
)
