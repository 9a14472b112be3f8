-- Returns whether the database has schema bridge.
select pg_catalog.to_regnamespace('bridge') is not null
