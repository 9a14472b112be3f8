-- Returns what each watch needs and the database does not have: its table, or columns of it.
select
    w operator(pg_catalog.->>) 'name'::pg_catalog.text as name,
    w operator(pg_catalog.->>) 'relation'::pg_catalog.text as relation,
    r.relation is null as has_no_table,
    array(
        select distinct c
        from pg_catalog.jsonb_array_elements_text(
            coalesce(w operator(pg_catalog.->) 'columns'::pg_catalog.text, '[]')
            operator(pg_catalog.||) coalesce(w operator(pg_catalog.->) 'key'::pg_catalog.text, '[]')
            operator(pg_catalog.||) coalesce(w operator(pg_catalog.->) 'data'::pg_catalog.text, '[]')
        ) as c
        where not exists (
            select from pg_catalog.pg_attribute as a
            where a.attrelid operator(pg_catalog.=) r.relation and a.attname operator(pg_catalog.=) c
        )
        order by c
    ) as columns
from pg_catalog.jsonb_array_elements(%(wanted)s::pg_catalog.jsonb) as w
cross join lateral pg_catalog.to_regclass(w operator(pg_catalog.->>) 'relation'::pg_catalog.text) as r (relation)
