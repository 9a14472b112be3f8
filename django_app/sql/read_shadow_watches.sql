-- Returns the installed shadow watches.
select w.name, w.task, w.stream, w.changed_at
from bridge.watch as w
where
    w.removed_at is null
    and w.options operator(pg_catalog.->) 'shadow' operator(pg_catalog.=) 'true'::pg_catalog.jsonb
order by w.name
