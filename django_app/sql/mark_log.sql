-- Returns the present end of the log: what this session sees of other transactions, and the last event of its own one.
select
    pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot,
    pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text as xid,
    coalesce(
        (
            select pg_catalog.max(e.id)
            from bridge.event as e
            where e.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()
        ), 0
    ) as id
