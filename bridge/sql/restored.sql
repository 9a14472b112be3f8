-- All that waits in a log that was restored from another cluster's dump: what the old position had not delivered, and
-- what was written since the restore (its transaction ids are of this cluster, its ids are larger). The cursor outlives
-- its transaction, as in rest.sql.
declare bridge_rest no scroll cursor with hold for
select
    e.id,
    case when size.wide is null then e.watch end as watch,
    case when size.wide is null then e.op end as op,
    case when size.wide is null then e.key::text end as key,
    case when size.wide is null then e.data::text end as data,
    case when size.wide is null then e.context end as context,
    case when e.at >= '0001-01-02' and e.at < '9999-12-31' then e.at end as at,
    e.xid::text,
    size.wide,
    case when size.wide is not null then e.slot end as slot,
    case when size.wide is not null then e.ctid::text end as place
from bridge.event as e
join bridge.position as p using (stream)
cross join lateral (select bridge._wide(e.watch, e.op, e.key, e.data, e.context) offset 0) as size (wide)
where
    e.stream = %(stream)s
    and (
        e.id > p.largest_id
        or not pg_visible_in_snapshot(e.xid, p.seen)
        and (p.upto is null or e.id > p.after_id or not pg_visible_in_snapshot(e.xid, p.upto))
    )
order by e.id
