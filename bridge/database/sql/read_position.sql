-- Reads the position of a stream, and whether an earlier relay noted an outage of the broker. A relay runs this when it
-- has become the owner. It is an update that changes nothing: a relay that can't move the position (a revoked right, a
-- trigger that fails) must notice it before it publishes, or it would publish the same events at every try.
update bridge.position
set moved_at = moved_at
where stream = %(stream)s
returning seen::text, upto::text, after_id, largest_id, ctid::text, broker_error is not null as broker_away
