-- Events that can't be published as they are become dead letters, all of a batch in one statement.
insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason)
select r.id, %(stream)s, r.watch, r.op, r.key::jsonb, r.data::jsonb, r.context, r.at, r.reason
from unnest(
    %(id)s::bigint[], %(watch)s::text[], %(op)s::text[], %(key)s::text[], %(data)s::text[], %(context)s::text[],
    %(at)s::timestamptz[], %(reason)s::text[]
) as r (id, watch, op, key, data, context, at, reason)
on conflict (id) do update set reason = excluded.reason, failed_at = clock_timestamp()
