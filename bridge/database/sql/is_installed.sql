-- Returns whether triggers.sql is installed.
select to_regprocedure('bridge.version()') is not null as is_installed
