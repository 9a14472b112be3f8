-- Returns the events after a mark of mark_log.sql, in order of id; with `own`, only those of this transaction. Events of
-- a savepoint that was rolled back are gone. A time outside Python's range is null, as the relay reads it. The time is a
-- text in UTC, since Django's connection reads times as the project's settings say.
select
    e.id, e.watch, e.op, e.key::pg_catalog.text as key, e.data::pg_catalog.text as data, e.context,
    case
        when e.at operator(pg_catalog.>=) '0001-01-02'::pg_catalog.timestamptz
            and e.at operator(pg_catalog.<) '9999-12-31'::pg_catalog.timestamptz
            then pg_catalog.to_char(pg_catalog.timezone('UTC', e.at), 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
    end as at,
    e.xid::pg_catalog.text as xid,
    pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot,
    pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text as now
from bridge.event as e
where
    (
        not %(own)s or e.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()
    )
    and case
        when e.xid operator(pg_catalog.=) %(xid)s::pg_catalog.text::pg_catalog.xid8 then e.id operator(pg_catalog.>) %(id)s
        else
            e.xid operator(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_catalog.pg_snapshot)
            or e.xid operator(pg_catalog.=) any (
                array(select pg_catalog.pg_snapshot_xip(%(snapshot)s::pg_catalog.pg_snapshot))
            )
    end
order by e.id
