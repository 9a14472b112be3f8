-- Drops what an interrupted build has left: indexes of partitions that are not complete.
do $torn$
declare
    torn pg_catalog.text;
begin
    for torn in
        select i.indexrelid::pg_catalog.regclass::pg_catalog.text
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) i.indexrelid
        join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
        where
            n.nspname operator(pg_catalog.=) 'bridge'
            and c.relname operator(pg_catalog.~) '^event_[0-7]_(key|at)$'
            and not i.indisvalid
    loop
        execute pg_catalog.concat('drop index ', torn);
    end loop;
end
$torn$
