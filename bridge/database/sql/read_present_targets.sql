-- Returns what each installed watch starts.
select name, task, options::text as options
from bridge.watch
where removed_at is null
order by name
