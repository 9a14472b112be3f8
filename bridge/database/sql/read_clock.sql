-- Returns the server's time.
select clock_timestamp() as now
