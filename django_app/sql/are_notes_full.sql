-- Returns whether bridge.note_publishes() has stopped noting, since its table has reached its largest size.
select pg_catalog.pg_total_relation_size('bridge.shadow_publish') operator(pg_catalog.>=) 268435456
