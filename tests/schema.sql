CREATE SCHEMA bridge;

COMMENT ON SCHEMA bridge IS 'Commit Bridge: committed rows start Celery tasks';

CREATE FUNCTION bridge._add_stream(name text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with added as (insert into bridge.stream (name) values (name) on conflict do nothing returning name)
    insert into bridge.position (stream, seen) select a.name, bridge._present() from added a
$$;

CREATE FUNCTION bridge._apply(wanted jsonb, relations regclass[], prune boolean, source text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    step record;
    installed bridge.watch[];
    removed text[];
begin
    select
        coalesce(array_agg(bridge._wanted(i.item, relations[i.place])) filter (where p.action not in ('keep', 'remove')), '{}'),
        coalesce(array_agg(p.name) filter (where p.action = 'remove'), '{}')
    into installed, removed
    from bridge._plan(wanted, relations, prune, source) p
    left join jsonb_array_elements(wanted) with ordinality as i (item, place) on i.item ->> 'name' = p.name;
    perform bridge._lock_tables(installed, removed);
    for step in select * from bridge._plan(wanted, relations, prune, source) loop
        if step.action = 'remove' then
            perform bridge.unwatch(step.name);
        elsif step.action <> 'keep' then
            perform bridge._install(bridge._wanted(i.item, relations[i.place]))
            from jsonb_array_elements(wanted) with ordinality as i (item, place)
            where i.item ->> 'name' = step.name;
        end if;
        action := step.action; name := step.name; before := step.before; after := step.after;
        return next;
    end loop;
end
$$;

CREATE FUNCTION bridge._base_type(type oid) RETURNS oid
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive under (oid) as (
        select type
        union all
        select t.typbasetype from under u join pg_type t on t.oid = u.oid where t.typbasetype <> 0
    )
    select u.oid from under u join pg_type t on t.oid = u.oid where t.typbasetype = 0
$$;

CREATE TABLE bridge.event (
    id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    watch text NOT NULL COLLATE pg_catalog."C",
    op text NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) NOT NULL
)
PARTITION BY LIST (slot);

ALTER TABLE ONLY bridge.event REPLICA IDENTITY FULL;

CREATE FUNCTION bridge._bury_loaded(e bridge.event) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason)
    values (
        e.id, e.stream, e.watch, e.op, e.key, e.data, e.context, e.at,
        'it was loaded from elsewhere: its transaction id is not that of the transaction that wrote it here'
    )
    on conflict do nothing
$$;

CREATE TABLE bridge.watch (
    name text NOT NULL COLLATE pg_catalog."C",
    relation regclass NOT NULL,
    task text NOT NULL,
    operations text[] NOT NULL,
    columns text[],
    condition text,
    key text[],
    data text[],
    options jsonb NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    removed_at timestamp with time zone
);

CREATE FUNCTION bridge._capture_branch(w bridge.watch, op text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    row_name constant text := case op when 'delete' then 'old' else 'new' end;
    key constant text := case op when 'truncate' then 'null' else format('bridge.%I(%s)', 'key_' || w.name, row_name) end;
    parts text[] := '{}';
    data text := 'null';
begin
    if op <> 'truncate' and w.data is not null then
        parts := parts || case when op <> 'insert' then format('''old'', bridge.%I(old)', 'data_' || w.name) end
            || case when op <> 'delete' then format('''new'', bridge.%I(new)', 'data_' || w.name) end;
    end if;
    if op = 'update' and bridge._carries_data(w) then
        parts := parts || format('''changed'', bridge.%I(old, new)', 'changed_' || w.name);
    end if;
    parts := array_remove(parts, null);
    if cardinality(parts) > 0 then
        data := format('pg_catalog.jsonb_build_object(%s)', array_to_string(parts, ', '));
    end if;
    if op = 'update' then
        -- A row that changed its key: one event that carries both. No column is named here, since it may be renamed.
        data := format(
            'case when bridge.%1$I(old, new) then %2$s pg_catalog.jsonb_build_object(''old_key'', bridge.%3$I(old)) else %4$s end',
            'rekeyed_' || w.name, nullif(data, 'null') || ' operator(pg_catalog.||)', 'key_' || w.name, data
        );
    end if;
    return format(
        $branch$
        insert into bridge.event (stream, watch, op, key, data) values (%L, %L, %L, %s, %s);$branch$,
        w.stream, w.name, op, key, data
    );
end
$_$;

CREATE FUNCTION bridge._capture_function(w bridge.watch) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    wake constant bigint := (select s.sleep_key from bridge.stream s where s.name = w.stream);
    branches text;
    guard text := '';
    -- What a BEFORE trigger returns is what is written; what an AFTER trigger returns is ignored.
    leave constant text := case when 'move' = any (bridge._operations(w)) then
        'if tg_when operator(pg_catalog.=) ''BEFORE'' then return new; end if; return null;' else 'return null;' end;
begin
    -- Each question costs PL/pgSQL as much as a small function: the frequent operation is asked for first, the last one
    -- not at all, since the triggers call for these operations only.
    select case count(*)
        when 1 then min(o.branch) || E'\n'
        else string_agg(
            format(
                E'    %s%s\n',
                case
                    when o.n = 1 then format('if tg_op operator(pg_catalog.=) %L then', upper(o.op))
                    when o.n = cardinality(w.operations) then 'else'
                    else format('elsif tg_op operator(pg_catalog.=) %L then', upper(o.op))
                end,
                o.branch
            ), '' order by o.n
        ) || E'    end if;\n'
    end
    into branches
    from (
        select op, bridge._capture_branch(w, op) as branch, row_number() over (order by array_position('{update,insert,delete}', op)) as n
        from unnest(w.operations) op
    ) o;
    -- Where a trigger has no old or no new row, its WHEN can't name it; in here it reads as NULL.
    if bridge._guards_inside(w) then
        guard := format(
            E'    if tg_op operator(pg_catalog.<>) ''TRUNCATE'' and bridge.%I(old, new) is not true then\n        %s\n    end if;\n', 'when_' || w.name, leave
        );
    end if;
    if leave <> 'return null;' then
        guard := E'    if tg_when operator(pg_catalog.=) ''BEFORE'' and not bridge._moves(tg_relid, new) then\n        return new;\n    end if;\n' || guard;
    end if;
    -- After DROP COLUMN ... CASCADE capture stops, and no writer fails. Planned once a session, as a constant; in the
    -- trigger's WHEN it would be read in every statement.
    guard := format(E'    if bridge.%I(0) is null then\n        %s\n    end if;\n', 'uses_' || w.name, leave) || guard;
    return format(
        $capture$
create or replace function bridge.%1$I() returns trigger
language plpgsql security definer%2$s
as %3$L
$capture$,
        'capture_' || w.name,
        -- Each setting costs every call, the path alone a tenth of a small transaction. Where none is set, the body names
        -- all functions, operators and types with their schema, and the parsed functions hold no name at all.
        case when bridge._guards_inside(w) or bridge._needs_pinned_settings(w.relation, bridge._key(w.relation, w.key) || coalesce(w.data, '{}')) then
            E'\nset search_path = pg_catalog, pg_temp set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = iso_8601 set bytea_output = hex set extra_float_digits = 1 set lc_monetary = ''C'''
        else '' end,
        -- As a literal: a name may hold any text, such as the end of a dollar quote.
        format(
            E'\nbegin\n%s%s    %s\nend\n',
            case w.options ->> 'on_error' when 'warn' then format(
                $warn$    begin
%s%s    exception when others then
        raise warning 'watch %%: a change of %%.%% was not recorded: %%', %L, tg_table_schema, tg_table_name, sqlerrm;
        %s
    end;
$warn$,
                guard, branches, w.name, leave
            ) else guard || branches end,
            -- PREPARE TRANSACTION refuses a transaction that has notified; such a table's events wait for the poll floor.
            case when w.options -> 'notify' = 'false' then '' else format(
                $notify$    if not pg_catalog.pg_try_advisory_xact_lock_shared(%s) then
        perform pg_catalog.pg_notify(%L, '');
    end if;
$notify$,
                wake, 'bridge:' || w.stream
            ) end,
            leave
        )
    );
end
$_$;

CREATE FUNCTION bridge._carries_data(w bridge.watch) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select w.data is not null or w.options ->> 'call' is not distinct from 'event' $$;

CREATE FUNCTION bridge._changed(relation regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select case
        when a.atttypid = any ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[])
            or a.atttypid = any ('{text,varchar,name}'::regtype[]) and coalesce(c.collisdeterministic, true)
        then format('old.%1$I is distinct from new.%1$I', name)
        else format('pg_catalog.record_image_ne(row(old.%1$I), row(new.%1$I))', name)
    end
    from pg_attribute a
    left join pg_collation c on c.oid = a.attcollation
    where a.attrelid = relation and a.attname = name
$_$;

CREATE FUNCTION bridge._check_columns(watch_name text, parameter text, names text[], relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unknown text;
begin
    if names is null then return; end if;
    if cardinality(names) = 0 or array_position(names, null) is not null then
        raise exception 'watch "%": "%" is empty: name columns, or leave it out', watch_name, parameter
            using errcode = 'invalid_parameter_value';
    end if;
    select n into unknown from unnest(names) n where n <> all (bridge._columns(relation)) limit 1;
    if unknown is not null then
        raise exception 'watch "%": table % has no column "%" (in "%")', watch_name, relation, unknown, parameter
            using errcode = 'undefined_column', hint = format('Its columns: %s.', array_to_string(bridge._columns(relation), ', '));
    end if;
end
$$;

CREATE FUNCTION bridge._check_condition(watch_name text, condition text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    bare text;
    depth integer := 0;
    letter text;
begin
    if condition is null then return; end if;
    -- A condition is pasted into DDL, so it must be one expression: literals and quoted names are emptied, then what
    -- could end the expression is refused. E'' strings have other rules for quotes and are refused as a whole.
    bare := regexp_replace(condition, '('')[^'']*''|(")[^"]*"', '\1\1\2\2', 'g');
    if bare ~* '(^|[^a-z0-9_])(e|u&)''' or bare ~* '(^|[^a-z0-9_])u&"' then
        raise exception 'watch "%": the condition uses an escape string (E'''' or U&''''); write it as a plain string', watch_name
            using errcode = 'invalid_parameter_value';
    end if;
    bare := replace(replace(bare, '''''', ' '), '""', ' ');
    foreach letter in array regexp_split_to_array(bare, '') loop
        depth := depth + case letter when '(' then 1 when ')' then -1 else 0 end;
        exit when depth < 0;
    end loop;
    if depth <> 0 or bare ~ '[;$\\''"]|--|/\*' or btrim(bare) = '' and btrim(condition) = '' then
        raise exception 'watch "%": the condition is not one SQL expression: %', watch_name, condition
            using errcode = 'syntax_error', hint = 'Write a boolean expression over old and new, such as: new.price > 10.';
    end if;
end
$_$;

CREATE FUNCTION bridge._check_generated(w bridge.watch, names text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unreadable constant text := (select n from unnest(names) n where n <> all (bridge._readable(w)) limit 1);
begin
    if unreadable is not null then
        raise exception 'watch "%": triggers can''t read the generated column "%" (it is virtual, or its table is partitioned)',
            w.name, unreadable using errcode = 'invalid_parameter_value', hint = 'Name the columns that it is made of.';
    end if;
end
$$;

CREATE FUNCTION bridge._check_options(what text, options jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known constant text[] := '{call,queue,priority,countdown,expires,headers,coalesce,source,always,may_skip,named_only,notify,on_error}';
    flags constant text[] := '{coalesce,always,may_skip,named_only,notify}';
    unknown text;
    complaint text;
begin
    if jsonb_typeof(options) is distinct from 'object' then
        raise exception '%: options must be a JSON object', what using errcode = 'invalid_parameter_value';
    end if;
    select k into unknown from jsonb_object_keys(options) k where k <> all (known) limit 1;
    complaint := case
        when unknown is not null then
            format('unknown option "%s"; there are: %s', unknown, array_to_string(known, ', '))
        when coalesce(options -> 'call', '"key"') not in ('"key"', '"event"') then
            'option "call" must be "key" (the key''s values are the arguments) or "event" (one dict is)'
        when jsonb_typeof(options -> 'queue') <> 'string' or options ->> 'queue' = '' then
            'option "queue" must be the name of a queue'
        when jsonb_typeof(options -> 'priority') <> 'number' or (options ->> 'priority')::numeric not between 0 and 255
            or (options ->> 'priority')::numeric % 1 <> 0 then
            'option "priority" must be a whole number from 0 to 255'
        when jsonb_typeof(options -> 'countdown') <> 'number' or (options ->> 'countdown')::numeric < 0 then
            'option "countdown" must be a number of seconds, 0 or more'
        when jsonb_typeof(options -> 'expires') <> 'number' or (options ->> 'expires')::numeric <= 0 then
            'option "expires" must be a number of seconds over 0'
        when jsonb_typeof(options -> 'headers') <> 'object' then
            'option "headers" must be a JSON object'
        when jsonb_typeof(options -> 'source') <> 'string' then
            'option "source" must be a string'
        when exists (select from unnest(flags) f where jsonb_typeof(options -> f) <> 'boolean') then
            format('options %s must be true or false', (select string_agg(format('"%s"', f), ', ') from unnest(flags) f))
        when coalesce(options -> 'on_error', '"fail"') not in ('"fail"', '"warn"') then
            'option "on_error" must be "fail" (a change that can''t be recorded fails) or "warn" (it goes on, unrecorded)'
    end;
    if complaint is not null then
        raise exception '%: %', what, complaint using errcode = 'invalid_parameter_value';
    end if;
end
$$;

CREATE FUNCTION bridge._check_watch(w bridge.watch) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    class pg_class;
    complaint text;
begin
    select * into class from pg_class where oid = w.relation;
    -- 47 bytes: with the longest prefix of a generated name ("bridge_truncate_", "zzz_bridge_move_") that is PostgreSQL's limit of 63.
    complaint := case
        when w.name is null or w.name !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,46}$' then
            'a name has 1 to 47 letters, digits, "_", "." or "-", and starts with a letter or "_"'
        when class.oid is null then 'its table does not exist'
        when class.relkind not in ('r', 'p') then format('%s is not a table', w.relation)
        when class.relpersistence = 't' then format('%s is a temporary table: no listener could ever see its rows', w.relation)
        when class.relkind = 'r' and exists (select from pg_inherits where inhparent = w.relation) then
            format('%s has tables that inherit from it, whose rows its triggers would not see: watch each of them', w.relation)
        when class.relnamespace in ('bridge'::regnamespace, 'pg_catalog'::regnamespace) then format('%s belongs to the system', w.relation)
        when w.task is null or w.task !~ '^\S+$' then 'the task must be the full name of a Celery task, such as shop.tasks.reprice'
        when cardinality(w.operations) = 0 or not w.operations <@ '{insert,update,delete,truncate}' then
            format('operations are insert, update, delete and truncate, not {%s}', array_to_string(w.operations, ',', 'null'))
        when w.stream is null or w.stream !~ '^[a-z_][a-z0-9_]{0,39}$' then
            'a stream''s name has 1 to 40 lower-case letters, digits or "_"'
        when w.columns is not null and not 'update' = any (w.operations) then
            '"columns" narrows updates, but the watch has no "update" among its operations'
        when w.options -> 'named_only' = 'true' and w.columns is null then
            'option "named_only" is about "columns": name them, or leave the option out'
    end;
    if complaint is not null then
        raise exception 'watch "%": %', w.name, complaint using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_columns(w.name, 'columns', w.columns, w.relation);
    perform bridge._check_columns(w.name, 'key', w.key, w.relation);
    perform bridge._check_columns(w.name, 'data', w.data, w.relation);
    perform bridge._check_condition(w.name, w.condition);
    perform bridge._check_options(format('watch "%s"', w.name), w.options);
    if bridge._key(w.relation, w.key) is null then
        raise exception 'watch "%": table % has no primary key: name the columns that identify a row, key => ''{column}''',
            w.name, w.relation using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_generated(w, w.columns || bridge._key(w.relation, w.key) || w.data);
end
$_$;

CREATE FUNCTION bridge._chosen(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) RETURNS SETOF bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if num_nonnulls(ids, watch, stream, since, until) = 0 then
        raise exception 'say which dead letters: ids, watch, stream, since or until' using errcode = 'invalid_parameter_value',
            hint = 'All of them are: since => ''-infinity''.';
    end if;
    return query
        select d.id
        from bridge.dead_letter d
        where (ids is null or d.id = any (ids))
            and (_chosen.watch is null or d.watch = _chosen.watch)
            and (_chosen.stream is null or d.stream = _chosen.stream)
            and (since is null or d.failed_at >= since)
            and (until is null or d.failed_at < until)
        order by d.id
        limit at_most
        for update skip locked;
end
$$;

CREATE FUNCTION bridge._cluster() RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select system_identifier from pg_control_system() $$;

CREATE FUNCTION bridge._columns(relation regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(array_agg(attname::text order by attnum), '{}')
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

COMMENT ON FUNCTION bridge._columns(relation regclass) IS 'Names of the columns of a table, in order.';

CREATE FUNCTION bridge._columns_of_condition(w bridge.watch) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(distinct a.attname::text)
    from pg_proc p
    join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where p.pronamespace = 'bridge'::regnamespace and p.proname = ('when_' || w.name)::name and d.refobjid = w.relation
$$;

CREATE FUNCTION bridge._definition(w bridge.watch) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select jsonb_strip_nulls(to_jsonb(w) - '{fingerprint,changed_at,removed_at}'::text[])
$$;

CREATE FUNCTION bridge._drop_functions(watch_name text, kept text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    statement text;
begin
    for statement in
        select format('drop function %s', f) from bridge._generated(watch_name) f
        where not exists (select from unnest(kept) k where to_regprocedure(k) = f)
    loop
        execute statement;
    end loop;
end
$$;

CREATE FUNCTION bridge._drop_triggers(watch_name text, kept_relation regclass, kept text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    statement text;
begin
    for statement in
        select format('drop trigger %I on %s', t.trigger_name, t.relation)
        from bridge._triggers(watch_name) t
        where t.relation is distinct from kept_relation or t.op <> all (kept)
    loop
        execute statement;
    end loop;
end
$$;

CREATE FUNCTION bridge._fingerprint(w bridge.watch) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select md5(array_to_string(bridge._statements(w) || bridge._columns_of_condition(w), E'\n')) $$;

CREATE FUNCTION bridge._functions(w bridge.watch) RETURNS TABLE(signature text, statement text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    row_ constant text := 'r ' || w.relation;
    rows_ constant text := format('old %1$s, new %1$s', w.relation);
    key constant text[] := bridge._key(w.relation, w.key);
    compared constant text[] := coalesce(nullif(coalesce(w.columns, '{}') || coalesce(w.data, '{}'), '{}'), bridge._readable(w));
    uses text[] := '{}';
begin
    for signature, statement in
        select
            format('bridge.%I(%s)', f.prefix || '_' || w.name, case f.arguments when row_ then w.relation::text else format('%1$s, %1$s', w.relation) end),
            bridge._row_function(f.prefix || '_' || w.name, f.arguments, f.result, f.body)
        from (
            values
                (1, true, 'key', row_, 'pg_catalog.jsonb', format('pg_catalog.jsonb_build_array(%s)', (
                    select string_agg(bridge._value(w.relation, k, 'r'), ', ') from unnest(key) k
                ))),
                (2, w.data is not null, 'data', row_, 'pg_catalog.jsonb', bridge._object(w.relation, w.data, 'r')),
                (3, 'update' = any (w.operations), 'rekeyed', rows_, 'pg_catalog.bool', (
                    select string_agg(bridge._changed(w.relation, k), ' or ') from unnest(key) k
                )),
                (4, 'update' = any (w.operations) and bridge._carries_data(w), 'changed', rows_, 'pg_catalog.text[]', (
                    select format('pg_catalog.array_remove(array[%s], null)', string_agg(
                        format('case when %s then %L end', bridge._changed(w.relation, n), n), ', ' order by n collate "C"
                    ))
                    from (select distinct n from unnest(compared) n) n
                )),
                (5, w.condition is not null, 'when', rows_, 'pg_catalog.bool', format(E'(\n%s\n)', w.condition))
        ) as f (place, wanted, prefix, arguments, result, body)
        where f.wanted
        order by f.place
    loop
        uses := uses || format('%L::pg_catalog.regprocedure', signature);
        return next;
    end loop;
    -- It depends on all the others: DROP COLUMN ... CASCADE, which takes any of them, takes this one too. Then the same call
    -- finds the second one, over bigint, which says that nothing is left to capture with.
    for signature, statement in
        select
            format('bridge.%I(%s)', 'uses_' || w.name, f.argument),
            bridge._row_function('uses_' || w.name, f.argument, 'pg_catalog.regprocedure[]', f.body)
        from (
            values
                ('pg_catalog.int4', format('array[%s]', array_to_string(uses, ', '))),
                ('pg_catalog.int8', 'null::pg_catalog.regprocedure[]')
        ) as f (argument, body)
    loop
        return next;
    end loop;
end
$_$;

CREATE FUNCTION bridge._generated(watch_name text) RETURNS SETOF regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select p.oid::regprocedure
    from unnest('{uses,key,data,rekeyed,changed,when,capture}'::text[]) with ordinality as f (prefix, place)
    join pg_proc p on p.pronamespace = 'bridge'::regnamespace and p.proname = (f.prefix || '_' || watch_name)::name
    order by f.place
$$;

CREATE FUNCTION bridge._guards_inside(w bridge.watch) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- With on_error "warn" also a condition that raises an error must not fail the write, as it would in the trigger's WHEN.
    select w.condition is not null and (not w.operations <@ '{update,truncate}' or w.options ->> 'on_error' is not distinct from 'warn')
$$;

CREATE FUNCTION bridge._holder(key bigint) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pid
    from pg_locks
    where locktype = 'advisory' and granted and mode = 'ExclusiveLock' and objsubid = 1
        and database = (select oid from pg_database where datname = current_database())
        and classid = (key >> 32)::oid and objid = (key & 4294967295)::oid
    limit 1
$$;

CREATE FUNCTION bridge._holds_json(type oid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive part (oid) as (
        select type
        union
        select inner_.oid
        from part
        join pg_type t on t.oid = part.oid
        cross join lateral (
            select t.typbasetype
            union all
            select t.typelem
            union all
            select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) as inner_ (oid)
        where inner_.oid <> 0
    )
    select exists (select from part where part.oid = 'json'::regtype)
$$;

CREATE FUNCTION bridge._install(w bridge.watch) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    statement text;
begin
    perform bridge._check_watch(w);
    update bridge.installation set generation = generation + 1;
    perform bridge._add_stream(w.stream);
    perform bridge._drop_triggers(w.name, w.relation, bridge._operations(w));
    begin
        foreach statement in array bridge._statements(w) loop
            execute statement;
        end loop;
        perform bridge._check_generated(w, bridge._columns_of_condition(w));
    exception when syntax_error or undefined_column or undefined_table or undefined_function or invalid_object_definition
        or datatype_mismatch or feature_not_supported or grouping_error or windowing_error or ambiguous_function
        or invalid_text_representation or invalid_function_definition or undefined_object or indeterminate_datatype then
        if w.condition is null then raise; end if;
        raise exception 'watch "%": the condition does not work: %', w.name, sqlerrm
            using errcode = sqlstate, hint = format('The condition is: %s', w.condition);
    end;
    perform bridge._drop_functions(
        w.name, array(select f.signature from bridge._functions(w) f) || format('bridge.%I()', 'capture_' || w.name)
    );
    for statement in select format('revoke all on function %s from public', f) from bridge._generated(w.name) f loop
        execute statement;
    end loop;
    w.fingerprint := bridge._fingerprint(w);
    w.changed_at := clock_timestamp();
    w.removed_at := null;
    delete from bridge.watch x where x.name = w.name;
    insert into bridge.watch values (w.*);
    perform pg_notify('bridge', ''); -- a running bridge looks whether there is a new stream to serve
end
$$;

CREATE FUNCTION bridge._is_foreign(cluster bigint, seen pg_snapshot, upto pg_snapshot, written_by xid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select cluster <> bridge._cluster() or p.ahead > p.now or p.age < 2147483648 and p.ahead > p.now - p.age
    from (
        select
            x.now, greatest(pg_snapshot_xmax(seen), pg_snapshot_xmax(upto))::text::bigint,
            -- An xid has 32 bits. In the upper half are those from before 2^31 transactions, and our own.
            (x.now - written_by::text::bigint) & 4294967295
        from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) as x (now)
    ) as p (now, ahead, age)
$$;

CREATE FUNCTION bridge._is_intact(w bridge.watch) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- A column that is gone makes the fingerprint null.
    select coalesce(bridge._fingerprint(w) = w.fingerprint, false)
    and (select count(*) from bridge._generated(w.name)) = (select count(*) from bridge._functions(w)) + 1
    and (
        select coalesce(array_agg(t.op order by t.op), '{}') = array(select o from unnest(bridge._operations(w)) o order by o)
        from bridge._triggers(w.name) t
        where t.relation = w.relation and t.enabled
    )
    -- Rows of tables that inherit from this one, since the watch was made, go unseen.
    and not exists (
        select from pg_inherits i join pg_class c on c.oid = i.inhparent where i.inhparent = w.relation and c.relkind = 'r'
    )
$$;

CREATE FUNCTION bridge._json(value anyelement) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return to_jsonb(value);
exception when data_exception or program_limit_exceeded then
    return to_jsonb(value::text);
end
$$;

CREATE FUNCTION bridge._keep_position() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if exists (select from bridge.position p where p.stream = new.stream) then return null; end if;
    return new;
end
$$;

CREATE FUNCTION bridge._key(relation regclass, key text[]) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(
        key,
        (
            select array_agg(a.attname::text order by k.place)
            from pg_index i
            cross join unnest(i.indkey::smallint[]) with ordinality as k (attnum, place)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            -- What INCLUDE adds to the index is not part of the key.
            where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts
        )
    )
$$;

COMMENT ON FUNCTION bridge._key(relation regclass, key text[]) IS 'Key columns of a watch: those it names, else the primary key; null without either.';

CREATE FUNCTION bridge._lock_tables(installed bridge.watch[], removed text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    patience constant text := current_setting('lock_timeout');
    held integer;
    l record;
begin
    for attempt in 1..50 loop
        held := 0;
        begin
            perform set_config('lock_timeout', case patience when '0' then '3s' else patience end, true);
            for l in select * from bridge._locks(installed, removed) loop
                if held = 0 then
                    execute format('lock table only %s in %s mode', l.relation, l.mode);
                    held := 1;
                end if;
                -- With its partitions.
                execute format('lock table %s in %s mode nowait', l.relation, l.mode);
            end loop;
            perform set_config('lock_timeout', patience, true);
            return;
        exception when lock_not_available then
            -- What this attempt held is free again; only the first lock was waited for.
            if held = 0 or attempt = 50 then raise; end if;
        end;
        perform pg_sleep(0.02 + 0.08 * random());
    end loop;
end
$$;

CREATE FUNCTION bridge._locks(installed bridge.watch[], removed text[]) RETURNS TABLE(relation regclass, mode text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select l.relation, case when bool_or(l.drops) then 'access exclusive' else 'share row exclusive' end
    from (
        select w.relation, false as drops from unnest(installed) w
        union all
        select t.relation, t.relation <> w.relation or t.op <> all (bridge._operations(w))
        from unnest(installed) w cross join lateral bridge._triggers(w.name) t
        union all
        select t.relation, true from unnest(removed) n cross join lateral bridge._triggers(n) t
    ) l
    join pg_class c on c.oid = l.relation
    group by 1
    order by 1
$$;

CREATE FUNCTION bridge._moves(partition oid, new anyelement) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    stays boolean;
begin
    -- A default partition without any other one has no constraint.
    execute format('select %s from (select ($1).*) as r', coalesce(pg_get_partition_constraintdef(partition), 'true')) into stays using new;
    return stays is not true;
end
$_$;

CREATE FUNCTION bridge._needs_pinned_settings(relation regclass, names text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(bool_or(
        a.atttypid <> all ('{bool,int2,int4,int8,oid,uuid,date,timestamp,text,varchar,bpchar,numeric,bytea,json,jsonb}'::regtype[])
    ), false)
    from pg_attribute a
    where a.attrelid = relation and a.attname = any (names)
$$;

CREATE FUNCTION bridge._object(relation regclass, names text[], row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', n, bridge._value(relation, n, row_name)), ', '))
    from unnest(names) n
$$;

CREATE FUNCTION bridge._operations(w bridge.watch) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when 'update' = any (w.operations) and exists (select from pg_class where oid = w.relation and relkind = 'p')
        then w.operations || 'move'::text
        else w.operations
    end
$$;

CREATE FUNCTION bridge._partition_columns(relation regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when bool_or(k.attnum = 0) then bridge._columns(relation) else array_agg(distinct a.attname::text) end
    from pg_partition_tree(relation) t
    join pg_partitioned_table p on p.partrelid = t.relid
    cross join unnest(p.partattrs::smallint[]) as k (attnum)
    left join pg_attribute a on a.attrelid = p.partrelid and a.attnum = k.attnum
$$;

CREATE FUNCTION bridge._present() RETURNS pg_snapshot
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format(
        '%s:%s:%s', least(pg_snapshot_xmin(p.now), p.me), least(pg_snapshot_xmax(p.now), p.me),
        (select string_agg(x::text, ',' order by x) from pg_snapshot_xip(p.now) x where x < p.me)
    )::pg_snapshot
    from (select pg_current_snapshot(), pg_current_xact_id()) as p (now, me)
$$;

CREATE FUNCTION bridge._readable(w bridge.watch) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
        and (a.attgenerated = '' or a.attgenerated = 's' and (c.relkind <> 'p' or 'update' <> all (w.operations)))
$$;

CREATE FUNCTION bridge._refuse_loaded() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if new.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id() then return new; end if;
    perform bridge._bury_loaded(new);
    return null;
end
$$;

CREATE FUNCTION bridge._require_read_committed(what text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception '% works at the isolation level read committed only, not at %', what, current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state', hint = 'Begin the transaction with: begin isolation level read committed.';
    end if;
end
$$;

CREATE FUNCTION bridge._row_function(name text, arguments text, result text, body text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('create or replace function bridge.%I(%s) returns %s language sql stable begin atomic select %s; end', name, arguments, result, body)
$$;

CREATE FUNCTION bridge._statements(w bridge.watch) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array(select f.statement from bridge._functions(w) f) || bridge._capture_function(w)
        || array(select bridge._trigger(w, op) from unnest(bridge._operations(w)) with ordinality as o (op, n) order by n)
        || array(
            -- On a replica (session_replication_role, logical replication) ordinary triggers are silent.
            select format(
                'alter table %s enable %s trigger %I', w.relation, case w.options -> 'always' when 'true' then 'always' else '' end,
                bridge._trigger_name(op, w.name)
            )
            from unnest(bridge._operations(w)) with ordinality as o (op, n)
            order by n
        )
$$;

CREATE FUNCTION bridge._texts(list jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select case jsonb_typeof(list) when 'array' then array(select jsonb_array_elements_text(list)) end $$;

CREATE FUNCTION bridge._trigger(w bridge.watch, op text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    tests text[] := '{}';
begin
    if op <> 'truncate' then
        if op = 'move' then
            tests := tests || ('(' || (
                select string_agg(bridge._changed(w.relation, c), ' or ') from unnest(bridge._partition_columns(w.relation)) c
            ) || ')');
        end if;
        if op in ('update', 'move') and w.columns is not null then
            tests := tests || ('(' || (select string_agg(bridge._changed(w.relation, c), ' or ') from unnest(w.columns) c) || ')');
        end if;
        if w.condition is not null and not bridge._guards_inside(w) then
            tests := tests || format(E'(\n%s\n)', w.condition);
        end if;
    end if;
    if w.options -> 'may_skip' = 'true' then
        tests := tests || 'pg_catalog.current_setting(''bridge.capture'', true) is distinct from ''off'''::text;
    end if;
    return format(
        'create or replace trigger %I %s on %s for each %s %s execute function bridge.%I()',
        bridge._trigger_name(op, w.name),
        case
            when op = 'move' then 'before update'
            -- Decided once a statement, by its SET list, before PostgreSQL even reads the WHEN.
            when op = 'update' and w.options -> 'named_only' = 'true' then
                'after update of ' || (select string_agg(format('%I', c), ', ') from unnest(w.columns) c)
            else 'after ' || op
        end,
        w.relation, case op when 'truncate' then 'statement' else 'row' end,
        coalesce('when (' || nullif(array_to_string(tests, ' and '), '') || ')', ''), 'capture_' || w.name
    );
end
$$;

CREATE FUNCTION bridge._trigger_name(op text, watch_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- A BEFORE trigger comes late in the alphabet, since earlier ones may still change the row.
    select case op when 'move' then 'zzz_bridge_move_' else format('bridge_%s_', op) end || watch_name
$$;

CREATE FUNCTION bridge._triggers(watch_name text) RETURNS TABLE(relation regclass, trigger_name name, op text, enabled boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select
        t.tgrelid, t.tgname, coalesce(o.op, 'renamed'),
        t.tgenabled = case w.options ->> 'always' when 'true' then 'A' else 'O' end
        and not exists (
            -- on a partition
            select from pg_trigger c
            where c.tgfoid = t.tgfoid and c.tgtype = t.tgtype and c.tgparentid <> 0 and c.tgenabled <> t.tgenabled
        )
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'bridge'::regnamespace
    left join unnest('{insert,update,delete,truncate,move}'::text[]) as o (op)
        on t.tgname = bridge._trigger_name(o.op, watch_name)::name
    left join bridge.watch w on w.name = watch_name
    where not t.tgisinternal and t.tgparentid = 0 and (o.op is not null or p.proname = ('capture_' || watch_name)::name)
$$;

CREATE FUNCTION bridge._value(relation regclass, name text, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when bridge._base_type(a.atttypid) = 'numeric'::regtype then format('(%s).%I::text', row_name, name)
        when bridge._base_type(a.atttypid) = 'bytea'::regtype then format('''\x'' || encode((%s).%I, ''hex'')', row_name, name)
        when bridge._holds_json(a.atttypid) then format('bridge._json((%s).%I)', row_name, name)
        else format('(%s).%I', row_name, name)
    end
    from pg_attribute a
    where a.attrelid = relation and a.attname = name
$$;

CREATE FUNCTION bridge._waits_in_foreign_log(id bigint, xid xid8, at timestamp with time zone, seen pg_snapshot, upto pg_snapshot, after_id bigint, largest_id bigint, moved_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
 SELECT ((id > largest_id) OR (at > moved_at) OR ((NOT pg_visible_in_snapshot(xid, seen)) AND ((upto IS NULL) OR (id > after_id) OR (NOT pg_visible_in_snapshot(xid, upto)))));
END;

CREATE FUNCTION bridge._wanted(item jsonb) RETURNS bridge.watch
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known constant text[] := '{name,relation,task,operations,columns,condition,key,data,options,stream}';
    unknown text;
    w bridge.watch;
begin
    select k into unknown from jsonb_object_keys(item) k where k <> all (known) limit 1;
    if unknown is not null then
        raise exception 'watch "%": unknown parameter "%"; there are: %', item ->> 'name', unknown, array_to_string(known, ', ')
            using errcode = 'invalid_parameter_value';
    end if;
    if relation is null then
        raise exception 'watch "%": there is no table %', item ->> 'name', coalesce(item ->> 'relation', '(none is named)')
            using errcode = 'undefined_table', hint = 'Quote a name with capitals or spaces as SQL does: "Odd Name", or "My Schema"."Odd Name".';
    end if;
    w := bridge._watch(
        item ->> 'name', relation, item ->> 'task',
        coalesce(bridge._texts(item -> 'operations'), '{insert,update,delete}'), bridge._texts(item -> 'columns'),
        item ->> 'condition', bridge._texts(item -> 'key'), bridge._texts(item -> 'data'), item -> 'options', item ->> 'stream'
    );
    perform bridge._check_watch(w);
    return w;
end
$$;

CREATE FUNCTION bridge._watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) RETURNS bridge.watch
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (
        name, relation, task, coalesce(array(select distinct o from unnest(operations) o order by o), '{}'),
        columns, nullif(btrim(condition), ''), key, data, coalesce(options, '{}'), coalesce(stream, 'default'),
        '', clock_timestamp(), null
    )::bridge.watch
$$;

CREATE FUNCTION bridge.adopt(stream text) RETURNS TABLE(reason text, waiting bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    p record;
begin
    perform bridge._require_read_committed('bridge.adopt()');
    -- A second position, restored without triggers: the one of this cluster that moved last counts.
    delete from bridge.position x
    where x.stream = adopt.stream and x.ctid <> (
        select y.ctid from bridge.position y
        where y.stream = adopt.stream
        order by bridge._is_foreign(y.cluster, y.seen, y.upto, y.xmin), y.moved_at desc
        limit 1
    );
    select x.*, bridge._is_foreign(x.cluster, x.seen, x.upto, x.xmin) as is_foreign into p
    from bridge.position x
    where x.stream = adopt.stream
    for update;
    if p.is_foreign is not true then return; end if;
    -- One statement, for its one snapshot: no writer's commit can fall between what is judged and where the position goes.
    return query
        with adopted as (
            update bridge.event e
            -- 2 is the id of frozen rows, which is older than every snapshot.
            set xid = case when bridge._waits_in_foreign_log(e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at)
                then pg_current_xact_id() else '2' end
            where e.stream = adopt.stream
                and (
                    bridge._waits_in_foreign_log(e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at)
                    or not pg_visible_in_snapshot(e.xid, (select bridge._present()))
                )
            returning e.xid
        ),
        moved as (
            update bridge.position x
            set seen = bridge._present(), upto = null, after_id = null, cluster = bridge._cluster(), moved_at = clock_timestamp()
            where x.stream = adopt.stream
        )
        select
            case
                when p.cluster <> bridge._cluster() then 'it was restored from another cluster'
                else 'its position lies ahead of this server''s transactions: it was restored from another copy of this cluster'
            end,
            count(*) filter (where a.xid <> '2')
        from adopted a;
end
$$;

COMMENT ON FUNCTION bridge.adopt(stream text) IS 'Takes up the log of a stream that was restored from elsewhere: says why, and how many events wait in it; no row where nothing had to be done. For bridge run.';

CREATE FUNCTION bridge.allow(task text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update bridge.installation set generation = generation + 1;
    insert into bridge.sendable values (task) on conflict do nothing;
end
$$;

COMMENT ON FUNCTION bridge.allow(task text) IS 'Lets send() start this task.';

CREATE FUNCTION bridge.apply(wanted jsonb, prune boolean DEFAULT false, source text DEFAULT NULL::text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE sql
    AS $$ select action, name, before, after from bridge._apply(wanted, bridge._relations(wanted), prune, source) $$;

COMMENT ON FUNCTION bridge.apply(wanted jsonb, prune boolean, source text) IS 'Brings the watches in line with a JSON array of objects whose keys are the parameters of watch(); returns what plan() said.';

CREATE FUNCTION bridge.await_lock(key bigint, at_most interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform set_config('lock_timeout', (extract(epoch from at_most) * 1000)::bigint || 'ms', true);
    perform pg_advisory_lock(key);
    return true;
exception when lock_not_available then
    return false;
end
$$;

COMMENT ON FUNCTION bridge.await_lock(key bigint, at_most interval) IS 'Whether this session got the advisory lock within so long. For bridge run only.';

CREATE FUNCTION bridge.disallow(task text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update bridge.installation set generation = generation + 1;
    delete from bridge.sendable s where s.task = disallow.task;
    return found;
end
$$;

COMMENT ON FUNCTION bridge.disallow(task text) IS 'No longer lets send() start this task; what was sent and still waits becomes a dead letter.';

CREATE FUNCTION bridge.discard(ids bigint[] DEFAULT NULL::bigint[], watch text DEFAULT NULL::text, stream text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, at_most integer DEFAULT NULL::integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chosen constant bigint[] := array(select bridge._chosen(ids, watch, stream, since, until, at_most));
begin
    delete from bridge.dead_letter d where d.id = any (chosen);
    return cardinality(chosen);
end
$$;

COMMENT ON FUNCTION bridge.discard(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) IS 'Deletes dead letters for good; returns their number. At least one condition must be given.';

CREATE FUNCTION bridge.disk_use() RETURNS TABLE(part text, bytes bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select p.part, sum(pg_total_relation_size(c.oid))::bigint
    from pg_class c
    cross join lateral (select case when c.relname ~ '^event_\d$' then 'log' else c.relname::text end) as p (part)
    where c.relnamespace = 'bridge'::regnamespace and c.relkind = 'r' and p.part in ('log', 'dead_letter', 'inbox')
    group by 1
    order by 1
$_$;

COMMENT ON FUNCTION bridge.disk_use() IS 'Bytes on disk of the log, the dead letters and the inbox, with their indexes.';

CREATE FUNCTION bridge.drift() RETURNS TABLE(name text, relation text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w.name, w.relation::text
    from bridge.watch w
    where w.removed_at is null
        and not case when exists (select from pg_class c where c.oid = w.relation) then bridge._is_intact(w) else false end
    order by 1
$$;

COMMENT ON FUNCTION bridge.drift() IS 'Watches whose triggers are missing, switched off or outdated, or whose table is gone; apply() mends them.';

CREATE FUNCTION bridge.forget(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with old as (
        delete from bridge.inbox
        where id = any (array(
            select i.id from bridge.inbox i where i.at < clock_timestamp() - older_than order by i.at limit at_most
        ))
        returning true
    )
    select count(*) from old
$$;

COMMENT ON FUNCTION bridge.forget(older_than interval, at_most integer) IS 'Deletes old entries of the inbox, at most so many; returns their number.';

CREATE FUNCTION bridge.once(id uuid) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with noted as (insert into bridge.inbox (id) values (once.id) on conflict do nothing returning true)
    select exists (select from noted)
$$;

COMMENT ON FUNCTION bridge.once(id uuid) IS 'Notes a task''s id in the calling transaction: true the first time, false when it is there already.';

CREATE FUNCTION bridge.plan(wanted jsonb, prune boolean DEFAULT false, source text DEFAULT NULL::text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE sql STABLE
    AS $$ select action, name, before, after from bridge._plan(wanted, bridge._relations(wanted), prune, source) $$;

COMMENT ON FUNCTION bridge.plan(wanted jsonb, prune boolean, source text) IS 'What apply() would do: one row a watch, action create, replace, repair (triggers missing, switched off or outdated), keep, or, with prune, remove.';

CREATE FUNCTION bridge.recycle(retention interval) RETURNS smallint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $$
declare
    period constant bigint := extract(epoch from clock_timestamp())::bigint / 14400;
    done smallint[] := '{}';
    filled boolean;
    waiting boolean;
begin
    perform bridge._require_read_committed('bridge.recycle()');
    if retention < interval '0' or retention > interval '24 hours' then
        raise exception 'the log keeps events for up to 24 hours, not for %', retention using errcode = 'invalid_parameter_value';
    end if;
    -- What waits in a restored log is not told by the position alone until the log is adopted.
    if exists (select from bridge.position p where bridge._is_foreign(p.cluster, p.seen, p.upto, p.xmin)) then
        return done;
    end if;
    -- From the youngest slot that is no longer written to the oldest.
    for age in 1..7 loop
        continue when clock_timestamp() - to_timestamp((period - age + 1) * 14400) < retention;
        execute format('select exists (select from bridge.event_%s)', (period - age) % 8) into filled;
        continue when not filled;
        begin
            execute format('lock table bridge.event_%s in access exclusive mode', (period - age) % 8);
            execute format(
                'select exists (
                    select from bridge.position p
                    join bridge.event_%s e on e.lane = any (''{0,1,2,3,4,5,6,7}'') and e.stream = p.stream
                        and e.xid >= pg_snapshot_xmin(p.seen)
                    where not pg_visible_in_snapshot(e.xid, p.seen)
                )', (period - age) % 8
            ) into waiting;
            if not waiting then
                execute format('truncate bridge.event_%s', (period - age) % 8);
                done := done || ((period - age) % 8)::smallint;
            end if;
        exception when lock_not_available then
            null; -- somebody reads or writes it: the next round comes
        end;
    end loop;
    return done;
end
$$;

CREATE FUNCTION bridge.retry(ids bigint[] DEFAULT NULL::bigint[], watch text DEFAULT NULL::text, stream text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, at_most integer DEFAULT NULL::integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chosen constant bigint[] := array(select bridge._chosen(ids, watch, stream, since, until, at_most));
    p record;
begin
    for p in
        select x.stream, bridge._is_foreign(x.cluster, x.seen, x.upto, x.xmin) as is_foreign, s.sleep_key
        from bridge.position x
        join bridge.stream s on s.name = x.stream
        where x.stream in (select d.stream from bridge.dead_letter d where d.id = any (chosen))
    loop
        -- Until then, what is old here is told by its id.
        if p.is_foreign then
            raise exception 'stream "%" was restored from elsewhere and not served since: start the bridge first', p.stream
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        if not pg_try_advisory_xact_lock_shared(p.sleep_key) then
            perform pg_notify('bridge:' || p.stream, '');
        end if;
    end loop;
    with gone as (delete from bridge.dead_letter d where d.id = any (chosen) returning d.*)
    insert into bridge.event (id, stream, watch, op, key, data, context, at)
    select g.id, g.stream, g.watch, g.op, g.key, g.data, g.context, g.at from gone g order by g.id;
    return cardinality(chosen);
end
$$;

COMMENT ON FUNCTION bridge.retry(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) IS 'Publishes dead letters again, with the same task ids; returns their number. At least one condition must be given.';

CREATE FUNCTION bridge.send(task text, args jsonb DEFAULT '[]'::jsonb, kwargs jsonb DEFAULT '{}'::jsonb, options jsonb DEFAULT '{}'::jsonb, stream text DEFAULT 'default'::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wake bigint;
    event_id bigint;
begin
    if not exists (select from bridge.sendable s where s.task = send.task) then
        raise exception 'task "%" may not be sent', task
            using errcode = 'insufficient_privilege', hint = 'The owner of schema bridge allows it: select bridge.allow(''...'').';
    end if;
    if jsonb_typeof(args) is distinct from 'array' or jsonb_typeof(kwargs) is distinct from 'object' then
        raise exception 'task "%": args must be a JSON array and kwargs a JSON object', task using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_options(format('task "%s"', task), options);
    select s.sleep_key into wake from bridge.stream s where s.name = send.stream;
    if wake is null then
        raise exception 'there is no stream "%"', stream using errcode = 'invalid_parameter_value';
    end if;
    insert into bridge.event (stream, watch, op, data)
    values (stream, '', 'send', jsonb_build_object('task', task, 'args', args, 'kwargs', kwargs, 'options', options))
    returning id into event_id;
    if not pg_try_advisory_xact_lock_shared(wake) then
        perform pg_notify('bridge:' || stream, '');
    end if;
    return event_id;
end
$$;

COMMENT ON FUNCTION bridge.send(task text, args jsonb, kwargs jsonb, options jsonb, stream text) IS 'Starts an allowed task once the calling transaction has committed; returns the id of the event.';

CREATE FUNCTION bridge.set_aside() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    number bigint;
begin
    perform bridge._require_read_committed('bridge.set_aside()');
    with loaded as (
        delete from bridge.event e
        using bridge.position p
        where e.stream = p.stream and e.lane = any ('{0,1,2,3,4,5,6,7}')
            and e.xid >= pg_snapshot_xmin(pg_current_snapshot())
            and not pg_visible_in_snapshot(e.xid, (select pg_current_snapshot()))
            and e.xid is distinct from pg_current_xact_id_if_assigned()
            and not bridge._is_foreign(p.cluster, p.seen, p.upto, p.xmin)
        returning e.*
    )
    insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason)
    select
        l.id, l.stream, l.watch, l.op, l.key, l.data, l.context, l.at,
        'it was loaded from elsewhere: its transaction id is not of this cluster'
    from loaded l
    on conflict do nothing;
    get diagnostics number = row_count;
    return number;
end
$$;

COMMENT ON FUNCTION bridge.set_aside() IS 'Makes dead letters of events that were loaded from another cluster without triggers; returns their number. For bridge run.';

CREATE FUNCTION bridge.status() RETURNS TABLE(stream text, watches bigint, waiting bigint, of_removed bigint, lag interval, dead_letters bigint, owner_pid integer, asleep boolean, moved_at timestamp with time zone, broker_error text, broker_away_since timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select
        p.stream,
        (select count(*) from bridge.watch w where w.stream = p.stream and w.removed_at is null),
        coalesce(e.waiting, 0),
        coalesce(e.of_removed, 0),
        coalesce(clock_timestamp() - e.oldest, '0'),
        (select count(*) from bridge.dead_letter d where d.stream = p.stream),
        o.pid,
        bridge._holder(s.sleep_key) is not null,
        p.moved_at,
        -- What a relay noted that is gone is nobody's state any more.
        case when o.pid is not null then p.broker_error end,
        case when o.pid is not null then p.broker_away_since end
    from bridge.position p
    join bridge.stream s on s.name = p.stream
    cross join bridge._holder(s.owner_key) o(pid)
    left join (
        select
            w.stream, count(*) as waiting, min(w.at) as oldest,
            count(*) filter (where w.watch in (select r.name from bridge.watch r where r.removed_at is not null)) as of_removed
        from bridge.waiting w
        group by 1
    ) e on e.stream = p.stream
    order by 1
$$;

COMMENT ON FUNCTION bridge.status() IS 'One row a stream: its watches, committed events that wait, those of removed watches among them, age of the oldest one, dead letters, the backend of the relay that serves it, and why the broker takes nothing from it.';

CREATE FUNCTION bridge.unwatch(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- The tables first, as watch() does: two who change watches would else wait for each other.
    perform bridge._lock_tables('{}', array[name]);
    update bridge.installation set generation = generation + 1;
    update bridge.watch w set removed_at = clock_timestamp() where w.name = unwatch.name and w.removed_at is null;
    if not found then return false; end if;
    perform bridge._drop_triggers(name, null, '{}');
    perform bridge._drop_functions(name, '{}');
    return true;
end
$$;

COMMENT ON FUNCTION bridge.unwatch(name text) IS 'Removes a watch and its triggers; events that it has recorded are still delivered. False: there was no such watch.';

CREATE FUNCTION bridge.version() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select version from bridge.installation $$;

COMMENT ON FUNCTION bridge.version() IS 'Version of the triggers.sql that is installed.';

CREATE FUNCTION bridge.watch(name text, relation regclass, task text, operations text[] DEFAULT '{insert,update,delete}'::text[], columns text[] DEFAULT NULL::text[], condition text DEFAULT NULL::text, key text[] DEFAULT NULL::text[], data text[] DEFAULT NULL::text[], options jsonb DEFAULT '{}'::jsonb, stream text DEFAULT 'default'::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w constant bridge.watch := bridge._watch(name, relation, task, operations, columns, condition, key, data, options, stream);
begin
    perform bridge._check_watch(w); -- LOCK TABLE would complain of a view in words of its own
    perform bridge._lock_tables(array[w], '{}');
    perform bridge._install(w);
end
$$;

COMMENT ON FUNCTION bridge.watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) IS 'When these operations touch these columns of this table, call this task. Creates the rule and its triggers, or replaces them.';

CREATE TABLE bridge.dead_letter (
    id bigint NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    watch text NOT NULL COLLATE pg_catalog."C",
    op text NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text,
    at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE SEQUENCE bridge.event_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE bridge.event_id OWNED BY bridge.event.id;

CREATE TABLE bridge.event_0 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_0 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_1 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_1 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_2 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_2 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_3 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_3 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_4 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_4 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_5 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_5 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_6 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_6 REPLICA IDENTITY FULL;

CREATE TABLE bridge.event_7 (
    id bigint DEFAULT nextval('bridge.event_id'::regclass) CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    stream text CONSTRAINT event_stream_not_null NOT NULL COLLATE pg_catalog."C",
    watch text CONSTRAINT event_watch_not_null NOT NULL COLLATE pg_catalog."C",
    op text CONSTRAINT event_op_not_null NOT NULL COLLATE pg_catalog."C",
    key jsonb,
    data jsonb,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_at_not_null NOT NULL,
    slot smallint DEFAULT (((EXTRACT(epoch FROM transaction_timestamp()))::bigint / 14400) % (8)::bigint) CONSTRAINT event_slot_not_null NOT NULL,
    lane smallint DEFAULT (pg_backend_pid() & 7) CONSTRAINT event_lane_not_null NOT NULL
);

ALTER TABLE ONLY bridge.event_7 REPLICA IDENTITY FULL;

CREATE TABLE bridge.inbox (
    id uuid NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE bridge.installation (
    singleton boolean DEFAULT true NOT NULL,
    version text NOT NULL,
    generation bigint DEFAULT 1 NOT NULL,
    CONSTRAINT installation_singleton_check CHECK (singleton)
);

CREATE TABLE bridge."position" (
    stream text NOT NULL COLLATE pg_catalog."C",
    seen pg_snapshot DEFAULT bridge._present() NOT NULL,
    upto pg_snapshot,
    after_id bigint,
    largest_id bigint DEFAULT 0 NOT NULL,
    cluster bigint DEFAULT bridge._cluster() NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    broker_error text,
    broker_away_since timestamp with time zone,
    CONSTRAINT position_check CHECK (((broker_error IS NULL) = (broker_away_since IS NULL))),
    CONSTRAINT position_check1 CHECK (((upto IS NULL) = (after_id IS NULL)))
)
WITH (fillfactor='50');

ALTER TABLE ONLY bridge."position" REPLICA IDENTITY FULL;

CREATE TABLE bridge.sendable (
    task text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT sendable_task_check CHECK ((task ~ '^\S+$'::text))
);

CREATE TABLE bridge.stream (
    name text NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    sleep_key bigint GENERATED ALWAYS AS (('4778957226326884352'::bigint + (number * 2))) STORED NOT NULL,
    owner_key bigint GENERATED ALWAYS AS (('4778957226326884353'::bigint + (number * 2))) STORED NOT NULL,
    CONSTRAINT stream_name_check CHECK ((name ~ '^[a-z_][a-z0-9_]{0,39}$'::text))
);

ALTER TABLE bridge.stream ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME bridge.stream_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW bridge.waiting AS
 SELECT w.id,
    w.xid,
    w.stream,
    w.watch,
    w.op,
    w.key,
    w.data,
    w.context,
    w.at,
    w.slot,
    w.lane
   FROM (( SELECT p_1.stream,
            p_1.seen,
            p_1.upto,
            p_1.after_id,
            p_1.largest_id,
            p_1.cluster,
            p_1.moved_at,
            p_1.broker_error,
            p_1.broker_away_since,
            bridge._is_foreign(p_1.cluster, p_1.seen, p_1.upto, p_1.xmin) AS is_foreign
           FROM bridge."position" p_1
         OFFSET 0) p
     CROSS JOIN LATERAL ( SELECT e.id,
            e.xid,
            e.stream,
            e.watch,
            e.op,
            e.key,
            e.data,
            e.context,
            e.at,
            e.slot,
            e.lane
           FROM bridge.event e
          WHERE ((e.lane = ANY ('{0,1,2,3,4,5,6,7}'::smallint[])) AND (e.stream = p.stream) AND (e.xid >= pg_snapshot_xmax(p.seen)) AND (NOT p.is_foreign) AND ((p.upto IS NULL) OR (e.id > p.after_id) OR (NOT pg_visible_in_snapshot(e.xid, p.upto))) AND pg_visible_in_snapshot(e.xid, ( SELECT pg_current_snapshot() AS pg_current_snapshot)))
        UNION ALL
         SELECT e.id,
            e.xid,
            e.stream,
            e.watch,
            e.op,
            e.key,
            e.data,
            e.context,
            e.at,
            e.slot,
            e.lane
           FROM bridge.event e
          WHERE ((e.lane = ANY ('{0,1,2,3,4,5,6,7}'::smallint[])) AND (e.stream = p.stream) AND (e.xid = ANY (ARRAY( SELECT pg_snapshot_xip(p.seen) AS pg_snapshot_xip))) AND (NOT p.is_foreign) AND ((p.upto IS NULL) OR (e.id > p.after_id) OR (NOT pg_visible_in_snapshot(e.xid, p.upto))) AND pg_visible_in_snapshot(e.xid, ( SELECT pg_current_snapshot() AS pg_current_snapshot)))
        UNION ALL
         SELECT e.id,
            e.xid,
            e.stream,
            e.watch,
            e.op,
            e.key,
            e.data,
            e.context,
            e.at,
            e.slot,
            e.lane
           FROM bridge.event e
          WHERE ((e.stream = p.stream) AND p.is_foreign AND bridge._waits_in_foreign_log(e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at))) w);

COMMENT ON VIEW bridge.waiting IS 'Events that are committed and not delivered yet.';

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_0 FOR VALUES IN ('0');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_1 FOR VALUES IN ('1');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_2 FOR VALUES IN ('2');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_3 FOR VALUES IN ('3');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_4 FOR VALUES IN ('4');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_5 FOR VALUES IN ('5');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_6 FOR VALUES IN ('6');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.event_7 FOR VALUES IN ('7');

ALTER TABLE ONLY bridge.event ALTER COLUMN id SET DEFAULT nextval('bridge.event_id'::regclass);

ALTER TABLE ONLY bridge.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);

ALTER TABLE ONLY bridge.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY bridge.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY bridge.sendable
    ADD CONSTRAINT sendable_pkey PRIMARY KEY (task);

ALTER TABLE ONLY bridge.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (name);

ALTER TABLE ONLY bridge.watch
    ADD CONSTRAINT watch_pkey PRIMARY KEY (name);

CREATE INDEX event_lane_stream_xid ON ONLY bridge.event USING btree (lane, stream, xid);

CREATE INDEX event_0_lane_stream_xid_idx ON bridge.event_0 USING btree (lane, stream, xid);

CREATE INDEX event_1_lane_stream_xid_idx ON bridge.event_1 USING btree (lane, stream, xid);

CREATE INDEX event_2_lane_stream_xid_idx ON bridge.event_2 USING btree (lane, stream, xid);

CREATE INDEX event_3_lane_stream_xid_idx ON bridge.event_3 USING btree (lane, stream, xid);

CREATE INDEX event_4_lane_stream_xid_idx ON bridge.event_4 USING btree (lane, stream, xid);

CREATE INDEX event_5_lane_stream_xid_idx ON bridge.event_5 USING btree (lane, stream, xid);

CREATE INDEX event_6_lane_stream_xid_idx ON bridge.event_6 USING btree (lane, stream, xid);

CREATE INDEX event_7_lane_stream_xid_idx ON bridge.event_7 USING btree (lane, stream, xid);

CREATE INDEX inbox_at ON bridge.inbox USING btree (at);

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_0_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_1_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_2_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_3_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_4_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_5_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_6_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.event_7_lane_stream_xid_idx;

CREATE TRIGGER loaded BEFORE INSERT ON bridge.event FOR EACH ROW EXECUTE FUNCTION bridge._refuse_loaded();

ALTER TABLE bridge.event ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER one BEFORE INSERT ON bridge."position" FOR EACH ROW EXECUTE FUNCTION bridge._keep_position();

ALTER TABLE bridge."position" ENABLE ALWAYS TRIGGER one;

ALTER TABLE ONLY bridge."position"
    ADD CONSTRAINT position_stream_fkey FOREIGN KEY (stream) REFERENCES bridge.stream(name);

ALTER TABLE ONLY bridge.watch
    ADD CONSTRAINT watch_stream_fkey FOREIGN KEY (stream) REFERENCES bridge.stream(name);

REVOKE ALL ON FUNCTION bridge._add_stream(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._apply(wanted jsonb, relations regclass[], prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._base_type(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._bury_loaded(e bridge.event) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._capture_branch(w bridge.watch, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._capture_function(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._carries_data(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._changed(relation regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_columns(watch_name text, parameter text, names text[], relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_condition(watch_name text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_generated(w bridge.watch, names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_options(what text, options jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_watch(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._chosen(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._cluster() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns_of_condition(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._definition(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._drop_functions(watch_name text, kept text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._drop_triggers(watch_name text, kept_relation regclass, kept text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._fingerprint(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._functions(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._generated(watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._guards_inside(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._holder(key bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._holds_json(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._install(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_foreign(cluster bigint, seen pg_snapshot, upto pg_snapshot, written_by xid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_intact(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._json(value anyelement) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._keep_position() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._key(relation regclass, key text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._lock_tables(installed bridge.watch[], removed text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._locks(installed bridge.watch[], removed text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._moves(partition oid, new anyelement) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._needs_pinned_settings(relation regclass, names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._object(relation regclass, names text[], row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._operations(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._partition_columns(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._present() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._readable(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._refuse_loaded() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._require_read_committed(what text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._row_function(name text, arguments text, result text, body text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._statements(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._texts(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._trigger(w bridge.watch, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._trigger_name(op text, watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._triggers(watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._value(relation regclass, name text, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._waits_in_foreign_log(id bigint, xid xid8, at timestamp with time zone, seen pg_snapshot, upto pg_snapshot, after_id bigint, largest_id bigint, moved_at timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._wanted(item jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.adopt(stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.allow(task text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.apply(wanted jsonb, prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.await_lock(key bigint, at_most interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.disallow(task text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.discard(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.disk_use() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.drift() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.forget(older_than interval, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.once(id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.plan(wanted jsonb, prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.recycle(retention interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.retry(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.send(task text, args jsonb, kwargs jsonb, options jsonb, stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.set_aside() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.status() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.unwatch(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.version() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) FROM PUBLIC;
