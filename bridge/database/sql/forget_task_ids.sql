-- Deletes entries of the inbox that are older than `older_than` seconds, at most 10,000. Returns their number.
select bridge.forget(%(older_than)s) as number
