-- Writes a task with Celery's message into the log, as part of the transaction.
select bridge.send_task(
    %(task)s, %(args)s, %(kwargs)s, %(message)s::pg_catalog.jsonb, %(tasks)s::pg_catalog.text[]
)
