-- Names mean PostgreSQL's own objects, whatever the role's search_path is.
set search_path = pg_catalog, pg_temp
