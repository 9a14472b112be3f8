-- Installs each watch that no longer fits its table again, as the database has it. Returns what was changed, and which
-- watches have lost their table.
with drifted as materialized (
    select w as watch, exists (select from pg_catalog.pg_class as c where c.oid operator(pg_catalog.=) w.relation) as has_table
    from bridge.watch as w
    where w.removed_at is null and w.name operator(pg_catalog.=) any (select d.name from bridge.drift() as d)
)

select applied.action, applied.name, applied.before, applied.after
from bridge.apply(coalesce(
    (select pg_catalog.jsonb_agg(bridge._definition(d.watch)) from drifted as d where d.has_table), '[]'
)) as applied
union all
select
    'later',
    (d.watch).name,
    bridge._definition(d.watch),
    pg_catalog.jsonb_build_object('reason', 'its table was dropped')
from drifted as d
where not d.has_table
