-- Returns the server's time.
select pg_catalog.clock_timestamp()
