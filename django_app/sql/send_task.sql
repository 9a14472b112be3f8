-- Starts a task that the owner of the schema has allowed, after the commit. Returns the id of the event.
select bridge.send(
    %(task)s::pg_catalog.text, %(args)s::pg_catalog.text::pg_catalog.jsonb,
    %(kwargs)s::pg_catalog.text::pg_catalog.jsonb, %(options)s::pg_catalog.text::pg_catalog.jsonb,
    %(stream)s::pg_catalog.text
)
