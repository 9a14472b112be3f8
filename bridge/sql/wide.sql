-- The values of wide rows, by where they are: a row of the log never changes, and moves only when somebody rewrites its
-- table (VACUUM FULL); then it is missing here, or another id.
select e.slot::text, e.ctid::text, e.watch, e.op, e.key::text, e.data::text, e.context
from unnest(%(slots)s::smallint[], %(places)s::tid[], %(ids)s::bigint[]) as r (slot, place, id)
join bridge.event as e on e.slot = r.slot and e.ctid = r.place
where e.id = r.id
