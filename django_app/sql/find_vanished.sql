-- Returns the installed watches of this source that are not declared any more.
select name, before as definition
from bridge.plan('[]'::pg_catalog.jsonb, true, %(source)s)
where
    not exists (
        select from pg_catalog.jsonb_array_elements_text(%(declared)s::pg_catalog.jsonb) as declared
        where declared operator(pg_catalog.=) name
    )
order by name
