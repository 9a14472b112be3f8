-- The rest of a window too large for one batch: between two fixed snapshots, behind the last delivered id. The cursor
-- outlives its transaction (the server keeps the rows in a file when they outgrow work_mem), so that no transaction is
-- open while the broker is talked to, and a window of a million rows is sorted once. Wide rows and times as in look.sql.
declare bridge_rest no scroll cursor with hold for
select
    w.id,
    case when size.wide is null then w.watch end as watch,
    case when size.wide is null then w.op end as op,
    case when size.wide is null then w.key::text end as key,
    case when size.wide is null then w.data::text end as data,
    case when size.wide is null then w.context end as context,
    case when w.at >= '0001-01-02' and w.at < '9999-12-31' then w.at end as at,
    w.xid::text,
    size.wide,
    case when size.wide is not null then w.slot end as slot,
    case when size.wide is not null then w.ctid::text end as place
from (
    select *, ctid
    from bridge.event
    where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
    union all
    select *, ctid
    from bridge.event
    where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
) as w
cross join lateral (select bridge._wide(w.watch, w.op, w.key, w.data, w.context) offset 0) as size (wide)
where w.id > %(after_id)s and pg_visible_in_snapshot(w.xid, %(upto)s::pg_snapshot)
order by w.id
