-- Events that can't be published as they are become dead letters, all of a batch in one statement.
select bridge.bury(
    %(stream)s, %(ids)s::bigint[], %(ats)s::timestamptz[], %(xids)s::text[]::xid8[], %(reasons)s::text[]
)
