-- Returns the process id of the session. The schema is needed, since the search_path is not set yet.
select pg_catalog.pg_backend_pid() as pid
