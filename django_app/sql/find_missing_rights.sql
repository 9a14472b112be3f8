-- Returns the role of this session, and what it needs and lacks: the GRANT that mends it, or null if the object does not
-- exist. It reads the system catalogs, since PostgreSQL would refuse a query that names the schema.
select pg_catalog.quote_ident(current_user) as role, n.name, n.is_there, n.grantable
from (
    select
        'schema bridge' as name, s.oid is not null as is_there, 'usage on schema bridge' as grantable,
        coalesce(pg_catalog.has_schema_privilege(s.oid, 'usage'), false) as is_granted
    from (select 1) as always
    left join pg_catalog.pg_namespace as s on s.nspname operator(pg_catalog.=) 'bridge'
    union all
    select
        pg_catalog.concat('table bridge.', t.name), c.oid is not null, pg_catalog.concat('select on bridge.', t.name),
        coalesce(pg_catalog.has_table_privilege(c.oid, 'select'), false)
    from pg_catalog.unnest(%(tables)s::pg_catalog.text[]) as t (name)
    left join pg_catalog.pg_namespace as s on s.nspname operator(pg_catalog.=) 'bridge'
    left join pg_catalog.pg_class as c
        on c.relnamespace operator(pg_catalog.=) s.oid and c.relname operator(pg_catalog.=) t.name::pg_catalog.name
    union all
    select
        pg_catalog.concat('function bridge.', t.name), p.oid is not null,
        pg_catalog.format('execute on function bridge.%%s(%%s)', t.name, pg_catalog.oidvectortypes(p.proargtypes)),
        coalesce(pg_catalog.has_function_privilege(p.oid, 'execute'), false)
    from pg_catalog.unnest(%(functions)s::pg_catalog.text[]) as t (name)
    left join pg_catalog.pg_namespace as s on s.nspname operator(pg_catalog.=) 'bridge'
    left join pg_catalog.pg_proc as p
        on p.pronamespace operator(pg_catalog.=) s.oid and p.proname operator(pg_catalog.=) t.name::pg_catalog.name
) as n
where not n.is_there or not n.is_granted
