-- Returns the dead letters that meet all conditions that are not null, oldest first, each row with their total number.
-- A time outside Python's range is null, as in read_window.sql.
select
    id, stream, watch, op, key::text, data::text, context,
    case when at >= '0001-01-02' and at < '9999-12-31' then at end as at,
    reason, failed_at, count(*) over () as total
from bridge.dead_letter
where
    (%(ids)s::bigint[] is null or id = any(%(ids)s::bigint[]))
    and (%(watch)s::text is null or watch = %(watch)s::text)
    and (%(stream)s::text is null or stream = %(stream)s::text)
    and (%(since)s::timestamptz is null or failed_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or failed_at < %(until)s::timestamptz)
order by id, at
limit %(at_most)s
