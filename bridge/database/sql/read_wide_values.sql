-- Reads the values of wide rows at the given places, in the given order: at least one row, and no more than fit into
-- `room`. Only the text shows how long a value is, so the recursion builds the texts of one row after the other until
-- there is no more room. The values of an event that is too long for any broker are left out.
--
-- A row of the log never changes, and moves only when somebody rewrites its table (VACUUM FULL). Then this row and all
-- after it are missing here. A time outside Python's range is null, as in read_window.sql.
with recursive asked as (
    select
        %(slots)s::smallint[] as slots, %(places)s::tid[] as places, %(ids)s::bigint[] as ids,
        %(xids)s::text[]::xid8[] as xids, %(ats)s::timestamptz[] as ats
), taken as (
    select 0 as number, 0::bigint as sum, 0::bigint as length, null::text as watch, null::text as op, null::text as key, null::text as data, null::text as context
    union all
    select t.number + 1, t.sum + w.length, w.length, w.watch, w.op, w.key, w.data, w.context
    from taken as t
    cross join asked as a
    cross join lateral (
        select
            x.*,
            octet_length(x.watch)::bigint + octet_length(x.op) + coalesce(octet_length(x.key), 0)
            + coalesce(octet_length(x.data), 0) + coalesce(octet_length(x.context), 0) as length
        from (
            select e.watch collate "default", e.op collate "default", e.key::text, e.data::text, e.context
            from bridge.event as e
            where
                e.slot = a.slots[t.number + 1] and e.ctid = a.places[t.number + 1]
                and e.id = a.ids[t.number + 1] and e.xid = a.xids[t.number + 1]
                and a.ats[t.number + 1] is not distinct from case when e.at >= '0001-01-02' and e.at < '9999-12-31' then e.at end
            offset 0 -- so that each text is built only once
        ) as x
    ) as w
    where t.sum < %(room)s
)
select
    length,
    case when length <= %(most)s then watch end as watch,
    case when length <= %(most)s then op end as op,
    case when length <= %(most)s then key end as key,
    case when length <= %(most)s then data end as data,
    case when length <= %(most)s then context end as context
from taken
where number > 0
order by number
