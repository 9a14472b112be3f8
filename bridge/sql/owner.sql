-- A standby's look: the owner's session, if it waits for its client while events wait. The same row in the next look
-- means that the owner has said nothing in between. It is woken here, so an owner that lives and merely sleeps (a watch
-- with notify = false, say) reads those events and is seen to have moved. No row: nothing to suspect. A session that is
-- busy in the server is no suspect: its heir would have to wait for the same.
select
    a.pid,
    a.state_change,
    a.state = 'active' as sending,
    pg_notify('bridge:' || p.stream, '') as woken
from bridge.position as p
join bridge.stream as s on s.name = p.stream
join pg_locks as l
    on l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock' and l.objsubid = 1
    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    and l.classid = (s.owner_key >> 32)::oid and l.objid = (s.owner_key & 4294967295)::oid
join pg_stat_activity as a on a.pid = l.pid
where
    p.stream = %(stream)s
    and (a.wait_event_type = 'Client' or a.state_change is null)
    and (p.upto is not null or exists (select from bridge.waiting as w where w.stream = p.stream))
