-- Returns the installed watches of a table, with the SQL of their triggers.
select
    w.name,
    w.task,
    w.operations,
    w.columns,
    w.condition,
    w.stream,
    w.options::pg_catalog.text as options,
    array(
        select pg_catalog.pg_get_triggerdef(t.oid)
        from pg_catalog.pg_trigger as t
        where
            t.tgrelid operator(pg_catalog.=) w.relation::pg_catalog.oid
            and not t.tgisinternal
            and t.tgname operator(pg_catalog.=) any (
                select bridge._trigger_name(o, w.name)::pg_catalog.name
                from pg_catalog.unnest(array['insert', 'update', 'delete', 'truncate', 'note', 'move']) as o
            )
        order by t.tgname
    ) as triggers,
    not exists (select from bridge.drift() as d where d.name operator(pg_catalog.=) w.name) as is_intact
from bridge.watch as w
where
    w.removed_at is null
    and w.relation::pg_catalog.oid operator(pg_catalog.=) pg_catalog.to_regclass(%(table)s)::pg_catalog.oid
order by w.name
