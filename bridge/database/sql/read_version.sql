-- Returns the version of the installed schema.
select bridge.version() as version
