-- Returns all watches, with the bare names of their tables, and the tasks that `bridge.send` may start. A removed watch
-- is included, since it may have recorded events before.
select
    w.name, w.task, w.options::pg_catalog.text as options, c.relname::pg_catalog.text as relation, w.operations,
    w.columns, w.condition, w.removed_at is null as installed,
    array(select s.task from bridge.sendable as s) as sendable
from (select) as once
left join bridge.watch as w on true
left join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) w.relation::pg_catalog.oid
order by w.name
