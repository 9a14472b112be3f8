-- Builds the index of the timelines. Each statement runs by itself: those with `concurrently` read a partition while
-- writers go on, and refuse a transaction. All of them may run again.
create index if not exists event_key on only bridge.event (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index if not exists ring_key on only bridge.ring (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_0_key on bridge.event_0 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_1_key on bridge.event_1 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_2_key on bridge.event_2 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_3_key on bridge.event_3 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_4_key on bridge.event_4 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_5_key on bridge.event_5 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_6_key on bridge.event_6 (pg_catalog.jsonb_hash_extended(key, 0), xid);
create index concurrently if not exists event_7_key on bridge.event_7 (pg_catalog.jsonb_hash_extended(key, 0), xid);
alter index bridge.ring_key attach partition bridge.event_0_key;
alter index bridge.ring_key attach partition bridge.event_1_key;
alter index bridge.ring_key attach partition bridge.event_2_key;
alter index bridge.ring_key attach partition bridge.event_3_key;
alter index bridge.ring_key attach partition bridge.event_4_key;
alter index bridge.ring_key attach partition bridge.event_5_key;
alter index bridge.ring_key attach partition bridge.event_6_key;
alter index bridge.ring_key attach partition bridge.event_7_key;
alter index bridge.event_key attach partition bridge.ring_key;
