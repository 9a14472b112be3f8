-- Replaces the triggers of a table by ones that block no change of the table.
select bridge.step_aside(%(table)s::pg_catalog.int8::pg_catalog.oid::pg_catalog.regclass)
