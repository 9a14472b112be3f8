-- Waits for a session-level advisory lock, at most this long. Returns whether the session has it.
select bridge.await_lock(%(key)s, %(at_most)s) as granted
