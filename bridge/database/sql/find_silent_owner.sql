-- A standby's look: returns the owner's session if it waits for its client while events wait. If the next look returns
-- an equal row, the owner has run no statement in between. This statement also wakes the owner, so an owner that is
-- alive and only sleeps (a watch with notify = false, say) reads those events, and its row changes. No row means that
-- the owner is not suspect. A session that is busy in the server is not suspect either, since a new owner would have to
-- wait for the same work.
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
