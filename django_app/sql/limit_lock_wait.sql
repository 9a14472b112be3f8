-- Limits the time that each statement of this transaction waits for a lock.
select pg_catalog.set_config('lock_timeout', %(timeout)s, true)
