-- Removes a watch.
select bridge.unwatch(%(name)s::pg_catalog.text)
