-- Ends the sessions of a frozen owner: the session that owns the stream, if it has still run no statement, and those
-- that hold or wait for the sleep key. The server grants the owner's lock to the next standby at once. Returns how many
-- sessions were ended.
select count(*) filter (where pg_terminate_backend(l.pid)) as ended
from bridge.position as p
join bridge.stream as s on s.name = p.stream
join pg_locks as l
    on l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.objsubid = 1
    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    and (
        l.pid = %(pid)s and l.granted
        and l.classid = (s.owner_key >> 32)::oid and l.objid = (s.owner_key & 4294967295)::oid
        or l.classid = (s.sleep_key >> 32)::oid and l.objid = (s.sleep_key & 4294967295)::oid
    )
where
    p.stream = %(stream)s
    and exists (
        select from pg_stat_activity as a
        join pg_locks as o on o.pid = a.pid
        where
            a.pid = %(pid)s and a.state_change = %(silent_since)s
            and o.locktype = 'advisory' and o.granted and o.mode = 'ExclusiveLock' and o.objsubid = 1
            and o.classid = (s.owner_key >> 32)::oid and o.objid = (s.owner_key & 4294967295)::oid
    )
