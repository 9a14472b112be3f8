-- Moves the position, on the session that holds the stream's owner lock. So a relay that lost its session can't move
-- it. The row is found by its ctid, since a long transaction elsewhere keeps all its old versions, and a search would
-- read them.
update bridge.position
set
    seen = %(seen)s::pg_snapshot,
    upto = %(upto)s::pg_snapshot,
    after_id = %(after_id)s,
    largest_id = %(largest_id)s,
    moved_at = clock_timestamp()
where ctid = %(ctid)s::tid and stream = %(stream)s
returning ctid::text
