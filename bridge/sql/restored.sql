-- All that waits in a log that was restored from another cluster's dump: what the old position had not delivered, and
-- what was written since the restore (its transaction ids are of this cluster, its ids are larger). The cursor outlives
-- its transaction, as in rest.sql.
declare bridge_rest no scroll cursor with hold for
select e.id, e.watch, e.op, e.key::text, e.data::text, e.context, e.at
from bridge.event as e
join bridge.position as p using (stream)
where
    e.stream = %(stream)s
    and (
        e.id > p.largest_id
        or not pg_visible_in_snapshot(e.xid, p.seen)
        and (p.upto is null or e.id > p.after_id or not pg_visible_in_snapshot(e.xid, p.upto))
    )
order by e.id
