-- The position of a stream, and whether an earlier relay left the note that the broker takes nothing; read when a relay
-- has become its owner. As an update that changes nothing: a relay that can't move the position (a right that was revoked,
-- a trigger in the way) must learn it before it publishes, or it would publish the same events at every try.
update bridge.position
set moved_at = moved_at
where stream = %(stream)s
returning seen::text, upto::text, after_id, largest_id, ctid::text, broker_error is not null as broker_away
