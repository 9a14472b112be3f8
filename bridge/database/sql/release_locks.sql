-- Releases every session-level advisory lock of this session.
select pg_advisory_unlock_all()
