-- Returns the id of the current transaction, or null if it has written nothing yet. It assigns no id.
select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text
