-- Returns the newest sends of one task within a time, at most `most` of them: tasks that the old dispatch sent in a
-- transaction, which the bridge publishes after the commit.
select
    e.data operator(pg_catalog.->>) 'args' as args,
    e.data operator(pg_catalog.->>) 'kwargs' as kwargs,
    e.at,
    e.xid::pg_catalog.text as xid
from bridge.event as e
where
    e.watch operator(pg_catalog.=) ''
    and e.stream operator(pg_catalog.=) any (select s.name from bridge.stream as s)
    and e.lane operator(pg_catalog.=) any ('{0,1,2,3,4,5,6,7}'::pg_catalog.int2[])
    and e.at operator(pg_catalog.>=) %(since)s::pg_catalog.timestamptz
    and e.data operator(pg_catalog.->>) 'task' operator(pg_catalog.=) %(task)s
order by e.at desc, e.id desc
limit %(most)s
