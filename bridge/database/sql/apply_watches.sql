-- Makes the watches as wanted. Returns what was changed.
select *
from bridge.apply(%(wanted)s::pg_catalog.jsonb, %(prune)s)
