-- Stores events that can't be published as they are as dead letters, up to 10,000 in one statement.
select bridge.bury(
    %(stream)s, %(ids)s::bigint[], %(ats)s::timestamptz[], %(xids)s::text[]::xid8[], %(reasons)s::text[]
)
