-- Makes the triggers of a table as its watches define them.
select bridge.step_back(%(table)s::pg_catalog.int8::pg_catalog.oid::pg_catalog.regclass)
