-- Returns the time zone of the session.
select pg_catalog.current_setting('timezone') as zone
