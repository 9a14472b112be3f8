-- Returns whether the installed triggers.sql has the functions that the guard calls, and this role may call them. It
-- reads the system catalogs: where the role has no right to use the schema, to_regprocedure() raises an error.
select exists (
    select from pg_catalog.pg_proc as p
    join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) p.pronamespace
    where
        n.nspname operator(pg_catalog.=) 'bridge'
        and p.proname operator(pg_catalog.=) '_torn'
        and pg_catalog.pg_has_role(n.nspowner, 'usage')
)
