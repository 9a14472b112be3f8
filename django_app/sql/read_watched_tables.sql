-- Returns the table of each watch and the columns of its key, in the order of the key's values. A watch without a key
-- has that of its table.
select
    w.name, s.nspname as schema, c.relname as table, pg_catalog.pg_table_is_visible(c.oid) as is_visible,
    coalesce(
        w.key,
        (
            select pg_catalog.array_agg(a.attname::pg_catalog.text order by k.place)
            from pg_catalog.pg_index as i
            cross join pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality as k (number, place)
            join pg_catalog.pg_attribute as a
                on a.attrelid operator(pg_catalog.=) i.indrelid and a.attnum operator(pg_catalog.=) k.number
            where
                i.indrelid operator(pg_catalog.=) c.oid and i.indisprimary and k.place operator(pg_catalog.<=) i.indnkeyatts
        ),
        array[]::pg_catalog.text[]
    ) as key
from bridge.watch as w
join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) w.relation::pg_catalog.oid
join pg_catalog.pg_namespace as s on s.oid operator(pg_catalog.=) c.relnamespace
