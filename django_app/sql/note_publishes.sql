-- Notes what the old dispatch has published.
select bridge.note_publishes(%(publishes)s::pg_catalog.jsonb)
