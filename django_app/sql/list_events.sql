-- Lists events of the log, newest first, with their fate. Each condition that is null does not count.
--
-- The log has one index, on (lane, stream, xid). So each lane of each stream is read from its newest event backwards, at
-- most `depth` events, whatever the size of the log; find_horizon.sql says what was not reached. `total` counts the
-- events that meet all conditions. A time outside the range of Python's datetime is null.
select
    p.id, p.xid::pg_catalog.text as xid, p.stream, p.watch, p.op, p.key::pg_catalog.text as key,
    case when %(with_data)s then p.data::pg_catalog.text end as data, p.context, s.at,
    (pg_catalog.extract('epoch', s.at) operator(pg_catalog.*) 1000000)::pg_catalog.int8 as microseconds,
    case when p.op operator(pg_catalog.=) 'send' then p.data operator(pg_catalog.->>) 'task' else w.task end as task,
    coalesce(w.options operator(pg_catalog.->) 'coalesce' operator(pg_catalog.=) 'true'::pg_catalog.jsonb, false)
        as coalesces,
    coalesce(w.options operator(pg_catalog.->>) 'own_writes'::pg_catalog.text operator(pg_catalog.=) 'ignore', false)
        as ignores_own_writes,
    f.fate, f.reason, f.since, f.context as decided_in, p.total
from (
    select e.*, pg_catalog.count(*) over () as total
    from (
        select x.*
        from bridge.stream as t
        cross join pg_catalog.generate_series(0, 7) as l (lane)
        cross join lateral (
            select x.id, x.xid, x.stream, x.watch, x.op, x.key, x.data, x.context, x.at
            from bridge.event as x
            where
                x.lane operator(pg_catalog.=) l.lane::pg_catalog.int2
                and x.stream operator(pg_catalog.=) t.name
                and x.xid operator(pg_catalog.<=) coalesce(%(before)s::pg_catalog.text, '18446744073709551615')::pg_catalog.xid8
                and x.xid operator(pg_catalog.>=) coalesce(%(after)s::pg_catalog.text, '0')::pg_catalog.xid8
                and (%(id)s::pg_catalog.int8 is null or x.id operator(pg_catalog.=) %(id)s::pg_catalog.int8)
            order by x.xid desc
            limit %(depth)s
        ) as x
        where
            not %(by_key)s and not %(by_time)s
            and (%(stream)s::pg_catalog.text is null or t.name operator(pg_catalog.=) %(stream)s::pg_catalog.text)
        union all
        -- The indexes that BRIDGE_LOG_INDEXES asks for lead to all events of a row, and of a short time.
        select x.*
        from rows from (
            pg_catalog.unnest(%(row_watches)s::pg_catalog.text[]),
            pg_catalog.unnest(%(row_keys)s::pg_catalog.text[]::pg_catalog.jsonb[])
        ) as r (watch, key)
        cross join lateral (
            select x.id, x.xid, x.stream, x.watch, x.op, x.key, x.data, x.context, x.at
            from bridge.event as x
            where
                pg_catalog.jsonb_hash_extended(x.key, 0)
                operator(pg_catalog.=) pg_catalog.jsonb_hash_extended(r.key, 0)
                and x.xid operator(pg_catalog.<=) coalesce(%(before)s::pg_catalog.text, '18446744073709551615')::pg_catalog.xid8
                and x.key operator(pg_catalog.=) r.key
                and x.watch operator(pg_catalog.=) r.watch
            order by x.xid desc
            limit %(depth)s
        ) as x
        where %(by_key)s
        union all
        select x.id, x.xid, x.stream, x.watch, x.op, x.key, x.data, x.context, x.at
        from bridge.event as x
        where
            %(by_time)s
            and x.at operator(pg_catalog.>=) %(since)s::pg_catalog.timestamptz
            and x.at operator(pg_catalog.<) %(until)s::pg_catalog.timestamptz
            and (%(stream)s::pg_catalog.text is null or x.stream operator(pg_catalog.=) %(stream)s::pg_catalog.text)
            and x.xid operator(pg_catalog.<=) coalesce(%(before)s::pg_catalog.text, '18446744073709551615')::pg_catalog.xid8
            and x.xid operator(pg_catalog.>=) coalesce(%(after)s::pg_catalog.text, '0')::pg_catalog.xid8
    ) as e
    where
        (%(watch)s::pg_catalog.text is null or e.watch operator(pg_catalog.=) %(watch)s::pg_catalog.text)
        and (%(op)s::pg_catalog.text is null or e.op operator(pg_catalog.=) %(op)s::pg_catalog.text)
        and (%(since)s::pg_catalog.timestamptz is null or e.at operator(pg_catalog.>=) %(since)s::pg_catalog.timestamptz)
        and (%(until)s::pg_catalog.timestamptz is null or e.at operator(pg_catalog.<) %(until)s::pg_catalog.timestamptz)
        and (%(user)s::pg_catalog.text is null or e.context operator(pg_catalog.~) %(user)s::pg_catalog.text)
        and (
            %(keys)s::pg_catalog.text[] is null
            or e.key operator(pg_catalog.@>) any (%(keys)s::pg_catalog.text[]::pg_catalog.jsonb[])
        )
        and (
            %(row_watches)s::pg_catalog.text[] is null
            or exists (
                select from rows from (
                    pg_catalog.unnest(%(row_watches)s::pg_catalog.text[]),
                    pg_catalog.unnest(%(row_keys)s::pg_catalog.text[]::pg_catalog.jsonb[])
                ) as r (watch, key)
                where r.watch operator(pg_catalog.=) e.watch and r.key operator(pg_catalog.=) e.key
            )
        )
    order by e.xid desc, e.id desc
    limit %(rows)s offset %(skip)s
) as p
cross join lateral (
    select case
        when p.at operator(pg_catalog.>=) '0001-01-02'::pg_catalog.timestamptz
            and p.at operator(pg_catalog.<) '9999-12-31'::pg_catalog.timestamptz then p.at
    end as at
) as s
cross join lateral bridge.fate(p.stream, p.watch, p.id, p.at, p.xid) as f
left join bridge.watch as w on w.name operator(pg_catalog.=) p.watch
order by p.xid desc, p.id desc
