-- The rest of a window too large for one batch: between two fixed snapshots, behind the last delivered id. The cursor
-- outlives its transaction (the server keeps the rows in a file when they outgrow work_mem), so that no transaction is
-- open while the broker is talked to, and a window of a million rows is sorted once. The first `skip` rows were read
-- already, and all the rest has to come. Order, wide rows, times and OFFSET as in look.sql.
declare bridge_rest no scroll cursor with hold for
select
    s.id,
    case when s.wide is null then s.watch end as watch,
    case when s.wide is null then s.op end as op,
    case when s.wide is null then s.key end as key,
    case when s.wide is null then s.data end as data,
    case when s.wide is null then s.context end as context,
    case when s.at >= '0001-01-02' and s.at < '9999-12-31' then s.at end as at,
    s.xid,
    case when s.wide is not null then format('%%s %%s %%s', s.wide, s.slot, s.ctid) end as elsewhere
from (
    select t.*, coalesce(
        t.stored,
        case when octet_length(t.key) > 4000 or octet_length(t.data) > 4000
            then (coalesce(octet_length(t.key), 0) + coalesce(octet_length(t.data), 0)) / 100
        end
    ) as wide
    from (
        select
            w.id, w.at, w.xid, w.slot, w.ctid, w.watch, w.op, w.context, w.stored,
            case when w.stored is null then w.key::text end as key,
            case when w.stored is null then w.data::text end as data
        from (
            select w.*, bridge._wide(w.watch, w.op, w.key, w.data, w.context) as stored
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
            order by w.id, w.at, w.watch, w.xid, w.slot, w.ctid
            offset %(skip)s
        ) as w
        offset 0
    ) as t
    offset 0
) as s
