-- Records that a task has run, in the transaction of its writes. Returns false if it has run before.
select bridge.once(%(task_id)s::pg_catalog.uuid) as is_first
