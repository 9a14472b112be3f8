-- Returns what the database has for a watch: its capture function and its triggers, as SQL.
select 'function' as kind, p.proname::pg_catalog.text as name, pg_catalog.pg_get_functiondef(p.oid) as definition, true as is_enabled
from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as s on s.oid operator(pg_catalog.=) p.pronamespace
where s.nspname operator(pg_catalog.=) 'bridge' and p.proname operator(pg_catalog.=) pg_catalog.concat('capture_', %(watch)s)::pg_catalog.name
union all
select 'trigger', t.tgname::pg_catalog.text, pg_catalog.pg_get_triggerdef(t.oid, true), t.tgenabled operator(pg_catalog.<>) 'D'
from pg_catalog.pg_trigger as t
join bridge.watch as w on w.relation::pg_catalog.oid operator(pg_catalog.=) t.tgrelid
where
    w.name operator(pg_catalog.=) %(watch)s
    and not t.tgisinternal
    and t.tgname operator(pg_catalog.=) any (array[
        pg_catalog.concat('bridge_insert_', w.name), pg_catalog.concat('bridge_update_', w.name),
        pg_catalog.concat('bridge_delete_', w.name), pg_catalog.concat('bridge_truncate_', w.name),
        pg_catalog.concat('zzy_bridge_move_', w.name), pg_catalog.concat('zzz_bridge_move_', w.name)
    ]::pg_catalog.name[])
order by 1, 2
