-- Sets the context of this transaction, if it has none.
select pg_catalog.set_config('bridge.context', %(context)s::pg_catalog.text, true)
where coalesce(pg_catalog.current_setting('bridge.context', true), '') operator(pg_catalog.=) ''
