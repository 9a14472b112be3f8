-- The rest of a window too large for one batch: between two fixed snapshots, behind the last delivered id. The cursor
-- outlives its transaction (the server keeps the rows in a file when they outgrow work_mem), so that no transaction is
-- open while the broker is talked to, and a window of a million rows is sorted once.
declare bridge_rest no scroll cursor with hold for
select w.id, w.watch, w.op, w.key::text, w.data::text, w.context, w.at
from (
    select *
    from bridge.event
    where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
    union all
    select *
    from bridge.event
    where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
) as w
where w.id > %(after_id)s and pg_visible_in_snapshot(w.xid, %(upto)s::pg_snapshot)
order by w.id
