-- Deletes dead letters. Returns their number.
select bridge.discard(ids => %(ids)s::pg_catalog.int8[])
