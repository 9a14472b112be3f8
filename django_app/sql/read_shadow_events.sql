-- Returns the newest events of one shadow watch within a time, at most `most` of them.
select
    e.op,
    e.key::pg_catalog.text as key,
    e.data operator(pg_catalog.->>) 'statement' as statement,
    e.context,
    e.at,
    e.xid::pg_catalog.text as xid
from bridge.event as e
where
    e.watch operator(pg_catalog.=) %(watch)s
    and e.stream operator(pg_catalog.=) %(stream)s
    and e.lane operator(pg_catalog.=) any ('{0,1,2,3,4,5,6,7}'::pg_catalog.int2[])
    and e.at operator(pg_catalog.>=) %(since)s::pg_catalog.timestamptz
order by e.at desc, e.id desc
limit %(most)s
