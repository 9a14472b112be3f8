-- The position moves, on the session that holds the stream's owner lock: a relay that lost its session can't do it.
-- The row is found by its ctid: a long transaction elsewhere keeps all its old versions alive.
update bridge.position
set
    seen = %(seen)s::pg_snapshot,
    upto = %(upto)s::pg_snapshot,
    after_id = %(after_id)s,
    largest_id = %(largest_id)s,
    moved_at = clock_timestamp()
where ctid = %(ctid)s::tid and stream = %(stream)s
returning ctid::text
