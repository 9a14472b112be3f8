-- Returns the installed watches of this source that are not declared any more.
select name, bridge._definition(w) as definition
from bridge.watch as w
where
    removed_at is null
    and (options operator(pg_catalog.->>) 'source'::pg_catalog.text) operator(pg_catalog.=) %(source)s
    and not exists (
        select from pg_catalog.jsonb_array_elements_text(%(declared)s::pg_catalog.jsonb) as declared
        where declared operator(pg_catalog.=) name
    )
order by name
