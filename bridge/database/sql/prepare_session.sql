-- Timeouts that an administrator set for applications must not disconnect a listener, which waits by design. Windows of
-- the log are always read through its index; with the statistics of a new log the planner would choose a full scan.
-- Names mean PostgreSQL's own objects, whatever the role's search_path is. Until search_path is set, each name has its
-- schema.
select pg_catalog.set_config(name, value, false)
from (values ('search_path', 'pg_catalog, pg_temp'),
    ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
    ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('enable_seqscan', 'off'), ('jit', 'off'),
    -- Windows need a new snapshot for each statement. Under serializable, our reads could make a writer fail.
    ('default_transaction_isolation', 'read committed'),
    ('plan_cache_mode', 'force_generic_plan'), ('max_parallel_workers_per_gather', '0'), ('timezone', 'UTC'),
    -- A role or a database may have local formats for values, which psycopg can't read.
    ('datestyle', 'ISO'), ('intervalstyle', 'postgres'), ('array_nulls', 'on'),
    -- Keepalives on the server's side: locks of a vanished bridge are free for the next bridge within seconds.
    ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
    ('tcp_user_timeout', '15000')
) as setting (name, value)
-- transaction_timeout is new in PostgreSQL 17.
where pg_catalog.current_setting(name, true) is not null
