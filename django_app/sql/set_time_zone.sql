-- Sets the time zone until the transaction ends.
select pg_catalog.set_config('timezone', %(zone)s, true)
