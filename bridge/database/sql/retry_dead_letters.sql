-- Puts dead letters back into the log, the oldest first, at most `at_most` of them. Returns their number.
select bridge.retry(%(ids)s, %(watch)s, %(stream)s, %(since)s, %(until)s, %(at_most)s) as number
