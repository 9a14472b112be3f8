-- Deletes dead letters, the oldest first, at most `at_most` of them. Returns their number.
select bridge.discard(%(ids)s, %(watch)s, %(stream)s, %(since)s, %(until)s, %(at_most)s) as number
