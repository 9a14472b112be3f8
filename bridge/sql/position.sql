-- The position of a stream, whether it comes from another cluster, and whether an earlier relay left the note that the
-- broker takes nothing; read when a relay has become its owner.
select
    seen::text, upto::text, after_id, largest_id, ctid::text, cluster <> bridge._cluster() as restored,
    broker_error is not null as broker_away
from bridge.position
where stream = %(stream)s
