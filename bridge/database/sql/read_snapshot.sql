-- Returns the present moment as a position.
select pg_current_snapshot()::text as snapshot
