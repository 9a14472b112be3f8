-- Returns the newest changes of one row that these watches have recorded, and what became of each. The row's key in
-- each watch stands at the same place of the list.
select
    e.id,
    e.watch,
    e.op,
    e.key::pg_catalog.text as key,
    e.data::pg_catalog.text as data,
    e.context,
    e.at,
    e.xid::pg_catalog.text as xid,
    case f.fate
        when 'dead' then pg_catalog.concat('dead letter: ', f.reason)
        else f.fate
    end as fate
from rows from (
    pg_catalog.unnest(%(watches)s::pg_catalog.text[]), pg_catalog.unnest(%(keys)s::pg_catalog.jsonb[])
) as w (name, key)
join bridge.event as e on e.watch operator(pg_catalog.=) w.name and e.key operator(pg_catalog.=) w.key
cross join lateral bridge.fate(e.stream, e.watch, e.id, e.at, e.xid) as f
where
    e.stream operator(pg_catalog.=) any (%(streams)s)
    and e.lane operator(pg_catalog.=) any ('{0,1,2,3,4,5,6,7}'::pg_catalog.int2[])
order by e.at desc
limit 10
