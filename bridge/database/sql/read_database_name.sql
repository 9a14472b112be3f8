-- Returns the name of the database.
select current_database() as name
