-- Returns the newest event that list_events.sql did not reach: each lane of each stream is read to `depth`. Everything
-- after this event was looked at. Returns no row if all was looked at.
select
    e.xid::pg_catalog.text as xid,
    case
        when e.at operator(pg_catalog.>=) '0001-01-02'::pg_catalog.timestamptz
            and e.at operator(pg_catalog.<) '9999-12-31'::pg_catalog.timestamptz then e.at
    end as at
from bridge.stream as t
cross join pg_catalog.generate_series(0, 7) as l (lane)
cross join lateral (
    select x.xid, x.at
    from bridge.event as x
    where
        x.lane operator(pg_catalog.=) l.lane::pg_catalog.int2
        and x.stream operator(pg_catalog.=) t.name
        and x.xid operator(pg_catalog.<=) coalesce(%(before)s::pg_catalog.text, '18446744073709551615')::pg_catalog.xid8
        and x.xid operator(pg_catalog.>=) coalesce(%(after)s::pg_catalog.text, '0')::pg_catalog.xid8
    order by x.xid desc
    limit 1 offset %(depth)s
) as e
where %(stream)s::pg_catalog.text is null or t.name operator(pg_catalog.=) %(stream)s::pg_catalog.text
order by e.xid desc
limit 1
