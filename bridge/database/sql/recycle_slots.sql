-- Truncates slots of the log that are delivered and older than `retention` seconds. Returns their numbers.
select bridge.recycle(%(retention)s) as slots
