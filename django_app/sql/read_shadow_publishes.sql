-- Returns the newest publishes of one task within a time, at most `most` of them, with what became of the transactions
-- in which they happened. PostgreSQL refuses to answer for a transaction id of the future.
select
    p.args::pg_catalog.text as args,
    p.at,
    p.inside,
    p.xid::pg_catalog.text as xid,
    p.place,
    case
        when
            p.xid operator(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
            then pg_catalog.pg_xact_status(p.xid)
    end as fate
from bridge.shadow_publish as p
where
    p.task operator(pg_catalog.=) %(task)s
    and p.at operator(pg_catalog.>=) %(since)s::pg_catalog.timestamptz
order by p.at desc, p.id desc
limit %(most)s
