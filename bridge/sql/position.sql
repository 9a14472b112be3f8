-- The position of a stream; read when a relay has become its owner.
select seen::text, upto::text, after_id, ctid::text
from bridge.position
where stream = %(stream)s
