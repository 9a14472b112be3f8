-- Puts dead letters back into the log. Returns their number.
select bridge.retry(ids => %(ids)s::pg_catalog.int8[])
