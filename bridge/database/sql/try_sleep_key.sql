-- Tries to get a stream's sleep key as a writer does. Returns whether it was free.
select pg_try_advisory_xact_lock_shared(%(sleep_key)s) as is_free
