-- Limits the time that each statement waits for a lock.
select set_config('lock_timeout', %(timeout)s, false)
