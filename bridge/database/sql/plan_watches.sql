-- Returns what `apply` would change.
select *
from bridge.plan(%(wanted)s::pg_catalog.jsonb, %(prune)s)
