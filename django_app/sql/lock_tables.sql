-- Takes all locks together and in one order: a session that waits for one lock while it holds another could end in a
-- deadlock with a writer.
select bridge._lock_tables(
    coalesce(pg_catalog.array_agg(bridge._wanted(item, r.relation)), '{}'),
    array(select pg_catalog.jsonb_array_elements_text(%(removed)s::pg_catalog.jsonb))
)
from pg_catalog.jsonb_array_elements(%(made)s::pg_catalog.jsonb) as item
cross join lateral pg_catalog.to_regclass(item operator(pg_catalog.->>) 'relation'::pg_catalog.text) as r (relation)
