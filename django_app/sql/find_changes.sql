-- Returns what `apply` would change.
select action, name, before, after
from bridge.plan(%(wanted)s::pg_catalog.jsonb)
where action operator(pg_catalog.<>) 'keep'
