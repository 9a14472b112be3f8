-- Reads the rest of a window that is too large for one batch: what lies between two fixed snapshots, after the last
-- delivered id. The cursor outlives its transaction (the server keeps the rows in a file when they exceed work_mem). So
-- no transaction is open while the relay uses the broker, and a window of a million rows is sorted only once. Wide rows
-- and times are as in read_window.sql.
declare bridge_rest no scroll cursor with hold for
select
    t.id, t.watch, t.op,
    case when octet_length(t.key) <= 4000 then t.key end as key,
    case when octet_length(t.data) <= 4000 then t.data end as data,
    t.context,
    case when t.at >= '0001-01-02' and t.at < '9999-12-31' then t.at end as at,
    t.xid,
    case
        when t.is_wide or octet_length(t.key) > 4000 or octet_length(t.data) > 4000 then format('%%s %%s', t.slot, t.ctid)
    end as place
from (
    select
        w.id, w.at, w.xid, w.slot, w.ctid, w.is_wide,
        case when not w.is_wide then w.watch end as watch,
        case when not w.is_wide then w.op end as op,
        case when not w.is_wide then w.key::text end as key,
        case when not w.is_wide then w.data::text end as data,
        case when not w.is_wide then w.context end as context
    from (
        select w.*, bridge._is_wide(w.watch, w.op, w.key, w.data, w.context) as is_wide
        from (
            select *, ctid
            from bridge.event
            where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
            union all
            select *, ctid
            from bridge.event
            where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s
                and xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
        ) as w
        where (%(after_id)s::bigint is null or w.id > %(after_id)s) and pg_visible_in_snapshot(w.xid, %(upto)s::pg_snapshot)
        order by w.id
    ) as w
    offset 0 -- so that each text is built only once
) as t
