-- Makes these watches.
select pg_catalog.count(*) from bridge.apply(%(wanted)s::pg_catalog.jsonb)
