-- Reads the next window: events of the stream that became visible since `seen`, in order of id, at most `rows` of them.
--
-- The first row also has the snapshot of this statement, which is the position after the delivery of these events, and
-- whether something visible may not be on disk yet, since its commit did not wait (synchronous_commit). There is always
-- a row, so the snapshot and the generation of the watches come even without an event.
--
-- A wide row comes without its values. Instead it has its place, so that the reader fetches only as much as fits
-- (read_wide_values.sql). A row whose values are long only as texts is wide too: 1e131071 has 10 bytes on disk and
-- 131,072 digits. A time outside Python's range is null.
select
    e.id, e.watch, e.op,
    case when octet_length(e.key) <= 4000 then e.key end as key,
    case when octet_length(e.data) <= 4000 then e.data end as data,
    e.context,
    case when e.at >= '0001-01-02' and e.at < '9999-12-31' then e.at end as at,
    e.xid,
    case
        when e.is_wide or octet_length(e.key) > 4000 or octet_length(e.data) > 4000 then format('%%s %%s', e.slot, e.ctid)
    end as place,
    case when row_number() over place = 1 then pg_current_snapshot()::text end as snapshot,
    (select generation from bridge.installation) as generation,
    case when row_number() over place = 1 and log.written is not null then log.written > pg_current_wal_flush_lsn() end as unflushed
from (select case when not pg_is_in_recovery() then pg_current_wal_insert_lsn() end) as log (written) -- null on a standby
left join lateral (
    select
        w.id, w.at, w.xid, w.slot, w.ctid, w.is_wide,
        case when not w.is_wide then w.watch end as watch,
        case when not w.is_wide then w.op end as op,
        case when not w.is_wide then w.key::text end as key,
        case when not w.is_wide then w.data::text end as data,
        case when not w.is_wide then w.context end as context
    from (
        select w.*, bridge._is_wide(w.watch, w.op, w.key, w.data, w.context) as is_wide
        from (
            select w.*
            from (
                select *, ctid
                from bridge.event
                where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s and xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
                union all
                select *, ctid
                from bridge.event
                where lane = any('{0,1,2,3,4,5,6,7}') and stream = %(stream)s
                    and xid = any (array(select pg_snapshot_xip(%(seen)s::pg_snapshot)))
            ) as w
            -- Without this condition, a row with a transaction id of another cluster would be new in every look
            -- (bridge.set_aside handles such rows).
            where pg_visible_in_snapshot(w.xid, (select pg_current_snapshot()))
            order by w.id
            limit %(rows)s
        ) as w
        offset 0 -- so that it is computed once, and only for these rows
    ) as w
    offset 0 -- so that each text is built only once
) as e on true
window place as (order by e.id)
order by row_number() over place
