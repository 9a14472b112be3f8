-- The rest of a window too large for one batch: between two fixed snapshots, behind the last delivered id. The cursor
-- outlives its transaction (the server keeps the rows in a file when they outgrow work_mem), so that no transaction is
-- open while the broker is talked to, and a window of a million rows is sorted once. The first `skip` rows were read
-- already, and all the rest has to come. Order, wide rows and times as in look.sql.
declare bridge_rest no scroll cursor with hold for
select
    e.id,
    case when e.wide is null then e.watch end as watch,
    case when e.wide is null then e.op end as op,
    case when e.wide is null then e.key::text end as key,
    case when e.wide is null then e.data::text end as data,
    case when e.wide is null then e.context end as context,
    case when e.at >= '0001-01-02' and e.at < '9999-12-31' then e.at end as at,
    e.xid::text,
    case when e.wide is not null then format('%%s %%s %%s', e.wide, e.slot, e.ctid) end as elsewhere
from (
    select w.*, bridge._wide(w.watch, w.op, w.key, w.data, w.context) as wide
    from (
        select *, ctid
        from bridge.event
        where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
        union all
        select *, ctid
        from bridge.event
        where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
    ) as w
    where (%(after_id)s::bigint is null or w.id > %(after_id)s) and pg_visible_in_snapshot(w.xid, %(upto)s::pg_snapshot)
    order by w.id, w.at, w.watch, w.xid, w.slot, w.ctid
    offset %(skip)s -- here, so that the planner keeps `wide` apart, and does not work it out for each column above
) as e
