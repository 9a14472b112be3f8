-- An event that can't be published as it is becomes a dead letter.
insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason)
values (
    %(id)s, %(stream)s, %(watch)s, %(op)s, %(key)s::jsonb, %(data)s::jsonb, %(context)s, %(at)s, %(reason)s
)
on conflict (id) do update set reason = excluded.reason, failed_at = clock_timestamp()
