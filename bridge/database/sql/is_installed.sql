-- Returns whether triggers.sql is installed.
select pg_catalog.to_regprocedure('bridge.version()') is not null as is_installed
