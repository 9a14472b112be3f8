-- Returns the present end of the log: what this session sees of other transactions, and the last event of its own one.
select
    pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot,
    pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text as xid,
    coalesce(
        (
            select pg_catalog.max(e.id)
            from bridge.event as e
            where
                e.lane operator(pg_catalog.=) any ('{0,1,2,3,4,5,6,7}'::pg_catalog.int2[])
                and e.stream operator(pg_catalog.=) any (array(select w.stream from bridge.watch as w) || '{default}')
                and e.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()
        ), 0
    ) as id
