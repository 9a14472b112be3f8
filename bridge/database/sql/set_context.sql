-- Sets the context of the events that this transaction writes from here on. It ends with the transaction.
select pg_catalog.set_config('bridge.context', %(context)s, true) as context
