-- Dead letters that meet all conditions that are not null, the oldest first, each with the number of all of them.
select id, stream, watch, op, key, data, context, at, reason, failed_at, count(*) over () as total
from bridge.dead_letter
where
    (%(ids)s::bigint[] is null or id = any(%(ids)s::bigint[]))
    and (%(watch)s::text is null or watch = %(watch)s::text)
    and (%(stream)s::text is null or stream = %(stream)s::text)
    and (%(since)s::timestamptz is null or failed_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or failed_at < %(until)s::timestamptz)
order by id
limit %(at_most)s
