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
        coalesce(
            array_agg(bridge._wanted(i.item, relations[i.place]))
                filter (where p.action not in ('keep', 'remove', 'later')),
            '{}'
        ),
        coalesce(array_agg(p.name) filter (where p.action = 'remove'), '{}')
    into installed, removed
    from bridge._plan(wanted, relations, prune, source) p
    left join jsonb_array_elements(wanted) with ordinality as i (item, place) on i.item ->> 'name' = p.name;
    perform bridge._lock_tables(installed, removed);
    for step in select * from bridge._plan(wanted, relations, prune, source) loop
        if step.action = 'remove' then
            perform bridge.unwatch(step.name);
        elsif step.action not in ('keep', 'later') then
            perform bridge._install(bridge._wanted(i.item, relations[i.place]))
            from jsonb_array_elements(wanted) with ordinality as i (item, place)
            where i.item ->> 'name' = step.name;
        end if;
        action := step.action; name := step.name; before := step.before; after := step.after;
        return next;
    end loop;
end
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
    removed_at timestamp with time zone,
    remembered jsonb
);

CREATE FUNCTION bridge._asks_inside(w bridge.watch) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select w.condition is not null and w.options ->> 'on_error' is not distinct from 'warn' $$;

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

CREATE FUNCTION bridge._bury_loaded() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    own constant bigint := pg_current_xact_id()::text::bigint;
begin
    -- A subscription's worker fires this trigger for each row; a statement fires it once.
    if tg_level = 'ROW' then
        if new.xid = pg_current_xact_id() then return null; end if;
        perform bridge._bury_written(array[new.lane], array[new.stream], array[new.xid], array[new.id], own);
    else
        perform bridge._bury_written(array_agg(l.lane), array_agg(l.stream), array_agg(l.xid), array_agg(l.id), own)
        from loaded l
        where l.xid <> pg_current_xact_id()
        having count(*) > 0;
    end if;
    return null;
end
$$;

CREATE FUNCTION bridge._bury_written(lanes smallint[], streams text[], xids xid8[], ids bigint[], own bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with gone as (
        delete from bridge.event e
        using (select distinct * from unnest(lanes, streams, xids, ids)) as l (lane, stream, xid, id)
        where e.lane = l.lane and e.stream = l.stream and e.xid = l.xid and e.id = l.id
            -- These numbers have 32 bits. Those after our own belong to our subtransactions, or to other transactions
            -- that have committed.
            and case when (e.xmin::text::bigint - own) & 4294967295 < 2147483648
                then pg_xact_status((own + ((e.xmin::text::bigint - own) & 4294967295))::text::xid8) = 'in progress'
            end
        returning e.*
    )
    insert into bridge.dead_letter (id, stream, watch, op, key, data, context, at, reason)
    select
        g.id, g.stream, g.watch, g.op, g.key, g.data, g.context, g.at,
        'it was loaded from elsewhere: its transaction id is not that of the transaction that wrote it here'
    from gone g
    on conflict do nothing
$$;

CREATE FUNCTION bridge._capture_branch_sql(w bridge.watch, op text, remembered jsonb, fits text, may_fail boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    reading text;
    slowly text;
begin
    if op = 'truncate' then
        return format(
            E'\n        insert into bridge.ring (stream, watch, op%s) values (%L, %L, %L%s);',
            case when w.options -> 'shadow' = 'true' then ', data' end, w.stream, w.name, op,
            case when w.options -> 'shadow' = 'true' then ', ' || bridge._kept_data_sql(w, 'null') end
        );
    end if;
    slowly := format(
        'select s.key, s.data into k, d from bridge._slowly(%L, %L, tg_relid, %s, %s) as s;',
        remembered, op,
        case op when 'insert' then 'new' else 'old' end, case op when 'delete' then 'old' else 'new' end
    );
    reading := bridge._reading_sql(w, op);
    if may_fail then
        reading := format(
            E'begin\n            %s\n            exception when others then\n                %s\n            end;',
            reading, slowly
        );
    end if;
    return format(
        E'\n        if %s then\n            %s\n        else\n            %s\n        end if;\n'
        '        insert into bridge.ring (stream, watch, op, key, data) values (%L, %L, %L, k, %s);',
        fits, reading, slowly, w.stream, w.name, op, bridge._kept_data_sql(w, 'd')
    );
end
$$;

CREATE FUNCTION bridge._capture_ddl(w bridge.watch, portable boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    wake constant bigint := (select s.sleep_key from bridge.stream s where s.name = w.stream);
    fits constant text := bridge._fits_sql(w, portable);
    remembered constant jsonb :=
        bridge._remember(w) - case when portable then '{place,relation,numbers}' else '{}' end::text[];
    may_fail constant boolean := bridge._may_fail(w);
    branches text;
    -- PostgreSQL writes the row that a BEFORE trigger returns, and ignores what an AFTER trigger returns.
    leave constant text := case when 'move' = any (bridge._operations(w)) then
        'if tg_when operator(pg_catalog.=) ''BEFORE'' then return new; end if; return null;' else 'return null;' end;
begin
    -- Each IF costs PL/pgSQL as much as a small function. So the most frequent operation is tested first, and the last
    -- one not at all, since the triggers call this function for these operations only.
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
        select
            op, bridge._capture_branch_sql(w, op, remembered, fits, may_fail) as branch,
            row_number() over (order by array_position('{update,insert,delete}', op)) as n
        from unnest(w.operations) op
    ) o;
    if bridge._asks_inside(w) then
        -- Here a row that the operation does not have reads as NULL. While the table does not fit, every change is
        -- recorded.
        branches := format(
            E'    if tg_op operator(pg_catalog.<>) ''TRUNCATE'' and %s then\n        if (\n%s\n) is not true then\n'
            '            %s\n        end if;\n    end if;\n',
            fits, bridge._condition_inside_sql(w.condition), leave
        ) || branches;
    end if;
    return format(
        $capture$
create or replace function bridge.%1$I() returns trigger
language plpgsql security definer%2$s
as %3$L
$capture$,
        'capture_' || w.name,
        -- Each setting slows down every call; search_path alone costs a tenth of a small transaction. Where none is
        -- set, the body qualifies all functions, operators and types with their schema.
        case when bridge._asks_inside(w)
            or bridge._needs_pinned_settings(w.relation, bridge._key(w.relation, w.key) || coalesce(w.data, '{}')) then
            E'\nset search_path = pg_catalog, pg_temp set timezone = ''UTC'' set datestyle = ''ISO, YMD'' '
            'set intervalstyle = iso_8601 set bytea_output = hex set extra_float_digits = 1 set lc_monetary = ''C'''
        else '' end,
        -- The body is a literal, since a name may contain any text, such as the end of a dollar quote.
        format(
            E'\ndeclare\n    k pg_catalog.jsonb;\n    d pg_catalog.jsonb;\nbegin\n%s%s    %s\nend\n',
            case w.options ->> 'on_error' when 'warn' then format(
                $warn$    begin
%s    exception when others then
        raise warning 'watch %%: a change of %%.%% was not recorded: %%', %L, tg_table_schema, tg_table_name, sqlerrm;
        %s
    end;
$warn$,
                branches, w.name, leave
            ) else branches end,
            -- PREPARE TRANSACTION refuses a transaction that has notified. With notify = false the events of such a
            -- table wait for the poll floor.
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
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ begin return w.data is not null or w.options ->> 'call' is not distinct from 'event'; end $$;

CREATE FUNCTION bridge._changed_sql(relation regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(
        case
            when bridge._compares_exactly(a) then 'old.%1$I is distinct from new.%1$I'
            else 'pg_catalog.record_image_ne(row(old.%1$I), row(new.%1$I))'
        end,
        name
    )
    from pg_attribute a
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
            using errcode = 'undefined_column',
                hint = format('Its columns: %s.', array_to_string(bridge._columns(relation), ', '));
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
    -- A condition becomes part of DDL, so it must be a single expression. Literals and quoted names are emptied first;
    -- then everything that could end the expression is refused. E'' strings have other rules for quotes, so they are
    -- refused altogether.
    bare := regexp_replace(condition, '('')[^'']*''|(")[^"]*"', '\1\1\2\2', 'g');
    if bare ~* '(^|[^a-z0-9_])(e|u&)''' or bare ~* '(^|[^a-z0-9_])u&"' then
        raise exception
            'watch "%": the condition uses an escape string (E'''' or U&''''); write it as a plain string', watch_name
            using errcode = 'invalid_parameter_value';
    end if;
    bare := replace(replace(bare, '''''', ' '), '""', ' ');
    foreach letter in array regexp_split_to_array(bare, '') loop
        depth := depth + case letter when '(' then 1 when ')' then -1 else 0 end;
        exit when depth < 0;
    end loop;
    if depth <> 0 or bare ~ '[;$\\''"]|--|/\*' or btrim(bare) = '' and btrim(condition) = '' then
        raise exception 'watch "%": the condition is not one SQL expression: %', watch_name, condition
            using errcode = 'syntax_error',
                hint = 'Write a boolean expression over old and new, such as: new.price > 10.';
    end if;
end
$_$;

CREATE FUNCTION bridge._check_condition_columns(w bridge.watch) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unknown text;
begin
    select format('%s.%s', t.row_name, t.column_name) into unknown
    from bridge._tokens(w.condition) t
    where t.column_name <> '*'
        and not exists (
            select from pg_attribute a
            where a.attrelid = w.relation and a.attname = t.column_name and not a.attisdropped
        )
        -- new.f also means f(new)
        and not exists (select from pg_proc p where p.proname = t.column_name)
    order by t.place
    limit 1;
    if unknown is not null then
        raise exception 'watch "%": the condition does not work: column % does not exist', w.name, unknown
            using errcode = 'undefined_column', hint = format(
                'The condition is: %s. The columns of old and new: %s.', w.condition,
                array_to_string(bridge._columns(w.relation), ', ')
            );
    end if;
end
$$;

CREATE FUNCTION bridge._check_generated(w bridge.watch, names text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unreadable constant text := (select n from unnest(names) n where n <> all (bridge._readable(w)) limit 1);
begin
    if unreadable is not null then
        raise exception
            'watch "%": triggers can''t read the generated column "%" (it is virtual, or its table is partitioned)',
            w.name, unreadable
            using errcode = 'invalid_parameter_value', hint = 'Name the columns that it is computed from.';
    end if;
end
$$;

CREATE FUNCTION bridge._check_inside(w bridge.watch) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    foreign_ text;
begin
    if not bridge._asks_inside(w) then return; end if;
    begin
        execute format(
            E'create trigger bridge_probe after update on %s for each row when %s execute function bridge._note_move()',
            w.relation, bridge._condition_sql(w, 'update')
        );
        select pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) into foreign_
        from pg_trigger t
        join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid
        where t.tgrelid = w.relation and t.tgname = 'bridge_probe' and d.refclassid <> 'pg_class'::regclass
            and d.refobjid <> 'bridge._note_move()'::regprocedure
        limit 1;
        raise exception using errcode = 'BR000';
    exception when sqlstate 'BR000' then
        null;
    end;
    if foreign_ is null then
        select format('the type of its column "%s"', a.attname) into foreign_
        from pg_attribute a
        where a.attrelid = w.relation and a.attname = any (bridge._columns_in_condition(w, by_name => false))
            and exists (select from bridge._parts(a.atttypid) where not bridge._is_builtin(part))
        limit 1;
    end if;
    if foreign_ is not null then
        raise exception 'watch "%": with on_error "warn" a condition may use only objects of PostgreSQL itself, not %',
            w.name, foreign_
            using errcode = 'invalid_parameter_value',
                hint = 'Leave on_error out: then the trigger''s WHEN evaluates it, with the writer''s rights.';
    end if;
end
$$;

CREATE FUNCTION bridge._check_options(what text, options jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    known constant text[] :=
        '{call,queue,priority,countdown,expires,headers,coalesce,source,always,may_skip,named_only,notify,on_error,'
        'unchanged,own_writes,shadow}';
    flags constant text[] := '{coalesce,always,may_skip,named_only,notify,unchanged,shadow}';
    -- Celery lets a custom header replace one of its protocol, such as the name of the task: see
    -- bridge/call_options.py.
    reserved constant text[] :=
        '{BCC,CC,args,argsrepr,as_execution_options,bridge,callbacks,called_directly,chain,children,chord,clear,'
        'clock,compression,correlation_id,delivery_info,errbacks,eta,expires,get,group,group_index,groups,'
        'headers,hostname,id,ignore_result,is_eager,kwargs,kwargsrepr,lang,link,link_error,logfile,loglevel,meth,'
        'origin,parent_id,properties,redelivered,replaced_task_nesting,reply_to,retries,root_id,shadow,'
        'soft_time_limit,stamped_headers,stamps,task,task_id,task_name,taskset,time_limit,timelimit,update,utc}';
    century constant numeric := 3155760000;
    taken text;
    unknown text;
    complaint text;
begin
    if jsonb_typeof(options) is distinct from 'object' then
        raise exception '%: options must be a JSON object', what using errcode = 'invalid_parameter_value';
    end if;
    select k into unknown from jsonb_object_keys(options) k where k <> all (known) limit 1;
    if jsonb_typeof(options -> 'headers') = 'object' then
        select k into taken
        from jsonb_object_keys(options -> 'headers') k
        where k = any (reserved) or k = '' or starts_with(k, '_')
        limit 1;
    end if;
    complaint := case
        when unknown is not null then
            format('unknown option "%s"; the options are: %s', unknown, array_to_string(known, ', '))
        when coalesce(options -> 'call', '"key"') not in ('"key"', '"event"') then
            'option "call" must be "key" (the arguments are the key''s values) or "event" (the argument is one dict)'
        when jsonb_typeof(options -> 'queue') <> 'string' or options ->> 'queue' = '' then
            'option "queue" must be the name of a queue'
        when starts_with(options ->> 'queue', 'amq.') then
            'option "queue" can''t begin with "amq.": the broker reserves these names'
        when jsonb_typeof(options -> 'priority') <> 'number' or (options ->> 'priority')::numeric not between 0 and 255
            or options ->> 'priority' !~ '^[0-9]+$' then
            'option "priority" must be a whole number from 0 to 255'
        when jsonb_typeof(options -> 'countdown') <> 'number'
            or (options ->> 'countdown')::numeric not between 0 and century then
            'option "countdown" must be a number of seconds, 0 or more, and at most a century'
        when jsonb_typeof(options -> 'expires') <> 'number' or (options ->> 'expires')::numeric <= 0
            or (options ->> 'expires')::numeric > century then
            'option "expires" must be a number of seconds over 0, and at most a century'
        when jsonb_typeof(options -> 'headers') <> 'object' then
            'option "headers" must be a JSON object'
        when taken is not null then
            format(
                'option "headers" can''t have "%s": names that Celery or the bridge uses, '
                'empty names and names with "_" in front are reserved', taken
            )
        when jsonb_typeof(options -> 'source') <> 'string' then
            'option "source" must be a string'
        when exists (select from unnest(flags) f where jsonb_typeof(options -> f) <> 'boolean') then
            format(
                'options %s must be true or false', (select string_agg(format('"%s"', f), ', ') from unnest(flags) f)
            )
        when coalesce(options -> 'on_error', '"fail"') not in ('"fail"', '"warn"') then
            'option "on_error" must be "fail" (a change that can''t be recorded fails) '
            'or "warn" (it succeeds without being recorded)'
        when coalesce(options -> 'own_writes', '"follow"') not in ('"follow"', '"ignore"') then
            'option "own_writes" must be "follow" (what the watch''s own task writes starts it again) '
            'or "ignore" (it does not, for the row that started the task)'
    end;
    if complaint is not null then
        raise exception '%: %', what, complaint using errcode = 'invalid_parameter_value';
    end if;
end
$_$;

CREATE FUNCTION bridge._check_watch(w bridge.watch) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    class pg_class;
    complaint text;
begin
    select * into class from pg_class where oid = w.relation;
    -- PostgreSQL limits a name to 63 bytes. The longest prefix of a generated name ("bridge_truncate_",
    -- "zzz_bridge_move_") has 16 of them, which leaves 47.
    complaint := case
        when w.name is null or w.name !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,46}$' then
            'a name has 1 to 47 letters, digits, "_", "." or "-", and starts with a letter or "_"'
        when class.oid is null then 'its table does not exist'
        when class.relkind not in ('r', 'p') then format('%s is not a table', w.relation)
        when class.relpersistence = 't' then
            format('%s is a temporary table: no other session, such as the task''s, can see its rows', w.relation)
        when class.relkind = 'r' and exists (select from pg_inherits where inhparent = w.relation) then
            format(
                '%s has tables that inherit from it, and its triggers do not see their rows: watch each of them',
                w.relation
            )
        when class.relnamespace in ('bridge'::regnamespace, 'pg_catalog'::regnamespace) then
            format('%s belongs to the system', w.relation)
        when w.task is null or w.task !~ '^[^[:space:]]+$' then
            'the task must be the full name of a Celery task, such as shop.tasks.reprice'
        when cardinality(w.operations) = 0 or not w.operations <@ '{insert,update,delete,truncate}' then
            format(
                'operations are insert, update, delete and truncate, not {%s}',
                array_to_string(w.operations, ',', 'null')
            )
        when w.stream is null or w.stream !~ '^[a-z_][a-z0-9_]{0,39}$' then
            'a stream''s name has 1 to 40 lower-case letters, digits or "_"'
        when w.columns is not null and not 'update' = any (w.operations) then
            '"columns" selects updates, but "update" is not among the operations of the watch'
        when w.options -> 'named_only' = 'true' and w.columns is null then
            'option "named_only" needs "columns": name them, or leave the option out'
        when w.options -> 'unchanged' = 'true' and w.columns is not null then
            'option "unchanged" asks for all updates, and "columns" for some of them: leave one of them out'
        when w.options -> 'unchanged' = 'true' and not 'update' = any (w.operations) then
            'option "unchanged" asks for updates, but "update" is not among the operations of the watch'
    end;
    if complaint is not null then
        raise exception 'watch "%": %', w.name, complaint using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_columns(w.name, 'columns', w.columns, w.relation);
    perform bridge._check_columns(w.name, 'key', w.key, w.relation);
    perform bridge._check_columns(w.name, 'data', w.data, w.relation);
    perform bridge._check_condition(w.name, w.condition);
    perform bridge._check_condition_columns(w);
    perform bridge._check_options(format('watch "%s"', w.name), w.options);
    if bridge._key(w.relation, w.key) is null then
        raise exception
            'watch "%": table % has no primary key: name the columns that identify a row, key => ''{column}''',
            w.name, w.relation using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_generated(w, w.columns || bridge._key(w.relation, w.key) || w.data);
end
$_$;

CREATE FUNCTION bridge._chosen_letters(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) RETURNS SETOF tid
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if num_nonnulls(ids, watch, stream, since, until) = 0 then
        raise exception 'say which dead letters: ids, watch, stream, since or until'
            using errcode = 'invalid_parameter_value',
                hint = 'For all of them, write: since => ''-infinity''.';
    end if;
    return query
        select d.ctid
        from bridge.dead_letter d
        where (ids is null or d.id = any (ids))
            and (_chosen_letters.watch is null or d.watch = _chosen_letters.watch)
            and (_chosen_letters.stream is null or d.stream = _chosen_letters.stream)
            and (since is null or d.failed_at >= since)
            and (until is null or d.failed_at < until)
        order by d.id, d.at
        limit at_most
        for update skip locked;
end
$$;

CREATE FUNCTION bridge._cluster() RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select system_identifier from pg_control_system() $$;

CREATE FUNCTION bridge._column_name(relation oid, number integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select nullif(c.names[3], format('........pg.dropped.%s........', number))
    from (select (pg_identify_object_as_address('pg_class'::regclass, relation, number)).object_names) as c (names)
$$;

CREATE FUNCTION bridge._columns(relation regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(array_agg(attname::text order by attnum), '{}')
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;

COMMENT ON FUNCTION bridge._columns(relation regclass) IS 'The names of the columns of a table, in order.';

CREATE FUNCTION bridge._columns_in_condition(w bridge.watch, by_name boolean) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(distinct c.name)
    from bridge._tokens(w.condition) t
    join unnest(bridge._columns(w.relation)) as c (name)
        on t.column_name = c.name or t.column_name = '*' and not by_name
$$;

CREATE FUNCTION bridge._columns_in_when(w bridge.watch, op text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(case when op in ('update', 'move') then w.columns end, '{}') || array(
        select t.column_name
        from bridge._tokens(w.condition) t
        join unnest(bridge._columns(w.relation)) as c (name) on c.name = t.column_name
        where not bridge._asks_inside(w) and op not in ('truncate', 'note')
            and t.row_name is distinct from case op when 'insert' then 'old' when 'delete' then 'new' end
    )
$$;

CREATE FUNCTION bridge._columns_now(relation oid) RETURNS TABLE(number integer, name text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive place (number) as (
        select 1
        union all
        select p.number + 1
        from place p
        where (pg_identify_object_as_address('pg_class'::regclass, relation, p.number + 1)).object_names is not null
    )
    select p.number, bridge._column_name(relation, p.number)
    from place p
    left join pg_attribute a on a.attrelid = relation and a.attnum = p.number
    left join pg_class c on c.oid = relation
    where bridge._column_name(relation, p.number) is not null
        and (coalesce(a.attgenerated, '') = '' or a.attgenerated = 's' and c.relkind <> 'p')
$$;

CREATE FUNCTION bridge._compared(w bridge.watch) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return case
        when 'update' <> all (w.operations) or not bridge._carries_data(w) then '{}'
        when bridge._lists_all(w) then bridge._readable(w)
        else array(select distinct n from unnest(coalesce(w.columns, '{}') || coalesce(w.data, '{}')) n)
    end;
end
$$;

CREATE FUNCTION bridge._compares_exactly(a pg_attribute) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select a.atttypid = any ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[])
        or a.atttypid = any ('{text,varchar,name}'::regtype[])
        and coalesce((select c.collisdeterministic from pg_collation c where c.oid = a.attcollation), true)
$$;

CREATE FUNCTION bridge._condition_inside_sql(condition text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(
        case
            when t.column_name <> '*' then format('%s.%s', t.row_name, bridge._quoted_sql(t.column_name))
            else bridge._token_sql(t.token)
        end, '' order by t.place
    )
    from bridge._tokens(condition) t
$$;

CREATE FUNCTION bridge._condition_sql(w bridge.watch, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format(E'(\n%s\n)', string_agg(
        case
            when t.row_name is null
                or t.row_name is distinct from case op when 'insert' then 'old' when 'delete' then 'new' end
                then bridge._token_sql(t.token)
            when t.column_name = '*' then format('(null::%s)', w.relation)
            else coalesce(
                '(' || format('null::%s', format_type(bridge._base_type(a.atttypid), a.atttypmod)) || ')', t.token
            )
        end, '' order by t.place
    ))
    from bridge._tokens(w.condition) t
    left join pg_attribute a on a.attrelid = w.relation and a.attname = t.column_name and a.attnum > 0
$$;

CREATE FUNCTION bridge._data_sql(w bridge.watch, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select bridge._json_object_sql(array_agg(
        format('%L, %s', d.name, bridge._value_sql(a.atttypid, format('%s.%s', row_name, bridge._quoted_sql(d.name))))
        order by d.place
    ))
    from unnest(w.data) with ordinality as d (name, place)
    join pg_attribute a on a.attrelid = w.relation and a.attname = d.name
$$;

CREATE FUNCTION bridge._definition(w bridge.watch) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select jsonb_strip_nulls(to_jsonb(w) - '{fingerprint,changed_at,removed_at,remembered}'::text[])
$$;

CREATE FUNCTION bridge._differs_sql(relation regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(
        case
            when a.atttypid = any ('{text,varchar,name}'::regtype[])
                then '(old.%1$s collate pg_catalog."C" operator(pg_catalog.<>) new.%1$s collate pg_catalog."C"'
                    || ' or (old.%1$s is null) operator(pg_catalog.<>) (new.%1$s is null))'
            when bridge._compares_exactly(a)
                then '(old.%1$s operator(pg_catalog.<>) new.%1$s'
                    || ' or (old.%1$s is null) operator(pg_catalog.<>) (new.%1$s is null))'
            else 'pg_catalog.record_image_ne(row(old.%1$s), row(new.%1$s))'
        end, bridge._quoted_sql(name)
    )
    from pg_attribute a
    where a.attrelid = relation and a.attname = name
$_$;

CREATE FUNCTION bridge._drop_functions(watch_name text, kept regprocedure DEFAULT NULL::regprocedure) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    statement text;
begin
    for statement in
        select format('drop function %s', f) from bridge._generated(watch_name) f where f is distinct from kept
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
    AS $$
    select md5(array_to_string(
        bridge._capture_ddl(w, portable => true) || bridge._triggers_ddl(w), E'\n'
    ))
$$;

CREATE FUNCTION bridge._fits(place text, relation regclass, columns jsonb, last integer) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fits boolean;
begin
    if place <> bridge._place() or last is not null and bridge._column_name(relation, last + 1) is not null then
        return false;
    end if;
    select coalesce(bool_and(bridge._column_name(relation, (c ->> 0)::integer) is not distinct from c ->> 1), true)
    into fits
    from jsonb_array_elements(columns) c;
    if fits then
        execute (
            select format(
                'select %s from (select null::%s) as r (v)',
                coalesce(string_agg(format('pg_typeof((r.v).%I) = %L::oid', c ->> 1, c ->> 2), ' and '), 'true'),
                relation
            )
            from jsonb_array_elements(columns) c
        ) into fits;
    end if;
    return coalesce(fits, false);
exception when others then
    return false;
end
$$;

CREATE FUNCTION bridge._fits_sql(w bridge.watch, portable boolean) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with used (relation, name) as (
        select w.relation::oid, n
        from unnest(
            bridge._key(w.relation, w.key) || coalesce(w.data, '{}') || bridge._compared(w)
            || case when bridge._asks_inside(w) then bridge._columns_in_condition(w, by_name => false) else '{}' end
        ) n
        union
        select c.oid, i.attname
        from pg_attribute a
        cross join bridge._parts(a.atttypid) p
        join pg_class c on c.oid = p.relation
        join pg_attribute i on i.attrelid = c.oid and i.attnum > 0 and not i.attisdropped
        where a.attrelid = w.relation and a.attname = any (bridge._key(w.relation, w.key) || coalesce(w.data, '{}'))
            and not bridge._is_builtin(a.atttypid)
    )
    select string_agg(
        format(
            'bridge._fits(%L, %L::pg_catalog.regclass, %L, %s)',
            case when portable then '' else bridge._place() end,
            case when portable then f.relation::regclass::text else f.relation::text end, f.columns,
            coalesce(
                case
                    when f.relation <> w.relation or bridge._lists_all(w) then case when portable then 0 else f.last end
                end::text, 'null'
            )
        ), ' and ' order by f.relation = w.relation desc, f.relation::regclass::text collate "C"
    )
    from (
        select
            u.relation, (select c.relnatts from pg_class c where c.oid = u.relation) as last,
            jsonb_agg(
                case when portable then jsonb_build_array(a.attname, format_type(a.atttypid, null))
                    else jsonb_build_array(a.attnum, a.attname, a.atttypid::bigint) end
                order by a.attname collate "C"
            ) as columns
        from used u
        join pg_attribute a on a.attrelid = u.relation and a.attname = u.name
        group by u.relation
    ) f
$$;

CREATE FUNCTION bridge._follow(w bridge.watch) RETURNS bridge.watch
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    numbers constant jsonb := w.remembered -> 'numbers';
    now_ jsonb;
    gone text[];
begin
    if w.remembered ->> 'place' is distinct from bridge._place()
        or (w.remembered ->> 'relation')::oid is distinct from w.relation::oid then
        return w;
    end if;
    select jsonb_object_agg(n.key, bridge._column_name(w.relation, n.value::integer))
    into now_
    from jsonb_each_text(numbers) n;
    gone := array(
        select n.key
        from jsonb_each(now_) n
        where n.value = 'null' and n.key = any (w.columns || w.data || bridge._named(w.condition))
    );
    if cardinality(gone) > 0 then
        raise notice 'watch "%": the column % was dropped; the watch continues without it',
            w.name, array_to_string(gone, ', ');
    end if;
    if bridge._named(w.condition) && gone then
        raise notice
            'watch "%": its condition named a dropped column; every change is recorded until the watch has a new one',
            w.name;
        w.condition := null;
    end if;
    select string_agg(
        case when t.column_name <> '*' and now_ ->> t.column_name <> t.column_name
            then format('%s.%I', t.row_name, now_ ->> t.column_name) else t.token end, '' order by t.place
    )
    into w.condition
    from bridge._tokens(w.condition) t;
    w.columns := bridge._followed(w.columns, now_);
    w.data := bridge._followed(w.data, now_);
    if w.columns is null and w.options -> 'named_only' = 'true' then
        w.options := w.options - 'named_only';
    end if;
    if w.key is not null then
        w.key := array(
            select coalesce(now_ ->> n, n) from unnest(w.key) with ordinality as c (n, place) order by place
        );
    end if;
    return w;
end
$$;

CREATE FUNCTION bridge._followed(names text[], now_ jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select nullif(array(
        select now_ ->> n
        from unnest(names) with ordinality as c (n, place)
        where now_ ->> n is not null
        order by place
    ), '{}')
$$;

CREATE FUNCTION bridge._generated(watch_name text) RETURNS SETOF regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select p.oid::regprocedure
    from unnest('{uses,key,data,rekeyed,changed,when,capture}'::text[]) with ordinality as f (prefix, place)
    join pg_proc p on p.pronamespace = 'bridge'::regnamespace and p.proname = (f.prefix || '_' || watch_name)::name
    order by f.place
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
    perform bridge._check_generated(w, bridge._columns_in_condition(w, by_name => true));
    begin
        perform bridge._check_inside(w);
        perform bridge._install_function(w);
        foreach statement in array bridge._triggers_ddl(w) loop
            execute statement;
        end loop;
    exception when syntax_error or undefined_column or undefined_table or undefined_function or
        invalid_object_definition or datatype_mismatch or feature_not_supported or grouping_error or windowing_error or
        ambiguous_function or invalid_text_representation or invalid_function_definition or undefined_object or
        indeterminate_datatype then
        if w.condition is null then raise; end if;
        raise exception 'watch "%": the condition does not work: %', w.name, sqlerrm
            using errcode = sqlstate, hint = format(
                'The condition is: %s. The columns of old and new: %s.', w.condition,
                array_to_string(bridge._columns(w.relation), ', ')
            );
    end;
    perform bridge._drop_functions(w.name, to_regprocedure(format('bridge.%I()', 'capture_' || w.name)));
    w.remembered := bridge._remember(w);
    w.fingerprint := bridge._fingerprint(w);
    w.changed_at := clock_timestamp();
    w.removed_at := null;
    delete from bridge.watch x where x.name = w.name;
    insert into bridge.watch values (w.*);
    perform pg_notify('bridge', ''); -- a running bridge then checks whether there is a new stream to serve
end
$$;

CREATE FUNCTION bridge._install_function(w bridge.watch) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute bridge._capture_ddl(w, portable => false);
    execute format('revoke all on function bridge.%I() from public', 'capture_' || w.name);
end
$$;

CREATE FUNCTION bridge._is_as_seen(composite oid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return composite = 0 or bridge._fits(
        bridge._place(), composite,
        (
            select jsonb_agg(jsonb_build_array(attnum, attname, atttypid::bigint))
            from pg_attribute
            where attrelid = composite and attnum > 0 and not attisdropped
        ),
        (select max(attnum) from pg_attribute where attrelid = composite)
    );
end
$$;

CREATE FUNCTION bridge._is_builtin(type oid) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select type < 16384::oid $$;

CREATE FUNCTION bridge._is_foreign(cluster bigint, seen pg_snapshot, upto pg_snapshot, written_by xid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select cluster <> bridge._cluster() or p.ahead > p.now or p.age < 2147483648 and p.ahead > p.now - p.age
    from (
        select
            x.now, greatest(pg_snapshot_xmax(seen), pg_snapshot_xmax(upto))::text::bigint,
            -- An xid has 32 bits. The upper half holds transactions that are more than 2^31 transactions old, and our
            -- own.
            (x.now - written_by::text::bigint) & 4294967295
        from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) as x (now)
    ) as p (now, ahead, age)
$$;

CREATE FUNCTION bridge._is_intact(w bridge.watch) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Where a column is gone, the fingerprint differs, or is null.
    select coalesce(bridge._fingerprint(w) = w.fingerprint, false)
    -- The fingerprint knows columns by name. A name that now belongs to another column requires another capture
    -- function.
    and not exists (
        select from jsonb_each_text(w.remembered -> 'numbers') n
        where w.remembered ->> 'place' = bridge._place() and (w.remembered ->> 'relation')::oid = w.relation
            and bridge._column_name(w.relation, n.value::integer) is distinct from n.key
    )
    -- The numbers of another cluster or database mean nothing here; the triggers themselves are still valid.
    and not exists (
        select from bridge._triggers(w.name) t
        where t.relation = w.relation
            and not bridge._names_columns(t.relation, t.trigger_name, bridge._columns_in_when(w, t.op))
    )
    and (select count(*) from bridge._generated(w.name)) = 1
    and (
        select coalesce(array_agg(t.op order by t.op), '{}')
            = array(select o from unnest(bridge._operations(w)) o order by o)
        from bridge._triggers(w.name) t
        where t.relation = w.relation and t.enabled
    )
    -- Triggers don't see the rows of tables that have begun to inherit from this one since the watch was made.
    and not exists (
        select from pg_inherits i
        join pg_class c on c.oid = i.inhparent
        where i.inhparent = w.relation and c.relkind = 'r'
    )
$$;

CREATE FUNCTION bridge._is_safe(type oid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select type = any ('{bool,int2,int4,int8,oid,uuid,date,timestamp,timestamptz}'::regtype[]) $$;

CREATE FUNCTION bridge._is_wide(watch text, op text, key jsonb, data jsonb, context text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN ((((((octet_length(watch) + octet_length(op)) + COALESCE(octet_length(context), 0)) + COALESCE(pg_column_size(key), 0)) + COALESCE(pg_column_size(data), 0)) > 2000) OR (pg_column_compression(key) IS NOT NULL) OR (pg_column_compression(data) IS NOT NULL));

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

CREATE FUNCTION bridge._json_array_sql(items text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(a.list, ' operator(pg_catalog.||) ' order by a.part)
    from (
        select
            (i.place - 1) / 100 as part,
            format('pg_catalog.jsonb_build_array(%s)', string_agg(i.item, ', ' order by i.place)) as list
        from unnest(items) with ordinality as i (item, place)
        group by 1
    ) a
$$;

CREATE FUNCTION bridge._json_object_sql(pairs text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(
        string_agg(o.object, ' operator(pg_catalog.||) ' order by o.part), 'pg_catalog.jsonb_build_object()'
    )
    from (
        select
            (p.place - 1) / 50 as part,
            format('pg_catalog.jsonb_build_object(%s)', string_agg(p.pair, ', ' order by p.place)) as object
        from unnest(pairs) with ordinality as p (pair, place)
        group by 1
    ) o
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

CREATE FUNCTION bridge._kept_data_sql(w bridge.watch, data text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when w.options -> 'shadow' = 'true' then format(
        'coalesce(%s, ''{}''::pg_catalog.jsonb) operator(pg_catalog.||) pg_catalog.jsonb_build_object('
        '''statement'', pg_catalog."left"(pg_catalog.current_query(), 500))', data
    ) else data end
$$;

CREATE FUNCTION bridge._key(relation regclass, key text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return coalesce(
        key,
        (
            select array_agg(a.attname::text order by k.place)
            from pg_index i
            cross join unnest(i.indkey::smallint[]) with ordinality as k (attnum, place)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            -- Columns that INCLUDE adds to the index are not part of the key.
            where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts
        )
    );
end
$$;

COMMENT ON FUNCTION bridge._key(relation regclass, key text[]) IS 'The key columns of a watch: those that it names, otherwise the primary key; null if there is neither.';

CREATE FUNCTION bridge._key_sql(w bridge.watch, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select bridge._json_array_sql(array_agg(
        bridge._value_sql(a.atttypid, format('%s.%s', row_name, bridge._quoted_sql(k.name))) order by k.place
    ))
    from unnest(bridge._key(w.relation, w.key)) with ordinality as k (name, place)
    join pg_attribute a on a.attrelid = w.relation and a.attname = k.name
$$;

CREATE FUNCTION bridge._lists_all(w bridge.watch) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select 'update' = any (w.operations) and w.columns is null and w.data is null
        and w.options ->> 'call' is not distinct from 'event'
$$;

CREATE FUNCTION bridge._lock(relations regclass[], modes text[]) RETURNS void
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
            for l in select * from unnest(relations, modes) as l (relation, mode) loop
                if held = 0 then
                    execute format('lock table only %s in %s mode', l.relation, l.mode);
                    held := 1;
                end if;
                -- This one includes the partitions.
                execute format('lock table %s in %s mode nowait', l.relation, l.mode);
            end loop;
            perform set_config('lock_timeout', patience, true);
            return;
        exception when lock_not_available then
            -- The locks of this attempt are released; it waited for the first one only.
            if held = 0 or attempt = 50 then raise; end if;
        end;
        perform pg_sleep(0.02 + 0.08 * random());
    end loop;
end
$$;

CREATE FUNCTION bridge._lock_for_alter(relation regclass) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select bridge._lock(array_agg(l.relation) || $1, array_agg(l.mode) || array['access exclusive'])
    from bridge._locks(
        array(
            select w::bridge.watch from bridge._watches_of(relation) w
            where w.relation <> $1 and not bridge._is_intact(w)
        ), '{}'
    ) l
$_$;

CREATE FUNCTION bridge._lock_tables(installed bridge.watch[], removed text[]) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select bridge._lock(array_agg(l.relation), array_agg(l.mode)) from bridge._locks(installed, removed) l $$;

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

CREATE FUNCTION bridge._loosen(w bridge.watch) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    statement text;
begin
    begin
        -- The function can only be dropped together with all of its triggers, so nothing is in the way of a change.
        if to_regprocedure(format('bridge.%I()', 'capture_' || w.name)) is null then
            perform bridge._install_function(w);
        end if;
    exception when others then
        raise notice 'watch "%" has lost its function and records no change of % until it is installed again: %',
            w.name, w.relation, sqlerrm;
        return;
    end;
    -- A renamed trigger would stay as strict as it was.
    perform bridge._drop_triggers(w.name, w.relation, bridge._operations(w));
    foreach statement in array bridge._triggers_ddl(w, loose => true) loop
        execute statement;
    end loop;
    update bridge.watch x set fingerprint = '' where x.name = w.name;
end
$$;

CREATE FUNCTION bridge._may_fail(w bridge.watch) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (
        select from pg_attribute a
        where a.attrelid = w.relation and a.attname = any (bridge._key(w.relation, w.key) || coalesce(w.data, '{}'))
            and not bridge._is_safe(a.atttypid)
    )
$$;

CREATE FUNCTION bridge._mentioned(statement text) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive down (oid) as (
        select w.relation::oid from bridge.watch w where w.removed_at is null
        union
        select i.inhrelid from down d join pg_inherits i on i.inhparent = d.oid
    ), up (oid) as (
        select w.relation::oid from bridge.watch w where w.removed_at is null
        union
        select i.inhparent from up u join pg_inherits i on i.inhrelid = u.oid
    )
    select c.oid::regclass
    from pg_class c
    where c.oid in (select oid from down union select oid from up) and bridge._mentions(statement, c.relname)
$$;

CREATE FUNCTION bridge._mentions(statement text, name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select statement ~* format(
        '(?<![[:alnum:]_$])%s(?![[:alnum:]_$])',
        regexp_replace(replace(name, '"', '""'), '([][(){}.*+?^$|\\])', '\\\1', 'g')
    )
$_$;

CREATE FUNCTION bridge._missing(item jsonb, relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when item ->> 'relation' is null then null
        when relation is null then format('table %s does not exist', item ->> 'relation')
        else (
            select format(
                'table %s has no column %s', item ->> 'relation', string_agg(distinct format('"%s"', c), ', ')
            )
            from unnest(
                bridge._texts(item -> 'columns') || bridge._texts(item -> 'key') || bridge._texts(item -> 'data')
            ) c
            where not exists (
                select from pg_attribute a
                where a.attrelid = relation and a.attname = c and a.attnum > 0 and not a.attisdropped
            )
            having count(*) > 0
        )
    end
$$;

CREATE FUNCTION bridge._named(condition text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select array(select distinct t.column_name from bridge._tokens(condition) t where t.column_name <> '*') $$;

CREATE FUNCTION bridge._names_columns(relation regclass, trigger_name name, columns text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select not exists (
        select from unnest(columns) as c (name)
        where c.name not in (
            select a.attname
            from pg_trigger t
            join pg_depend d
                on d.classid = 'pg_trigger'::regclass and d.objid = t.oid and d.refclassid = 'pg_class'::regclass
            join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
            where t.tgrelid = relation and t.tgname = trigger_name and d.refobjid = relation
        )
    )
$$;

CREATE FUNCTION bridge._needs_pinned_settings(relation regclass, names text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(bool_or(
        a.atttypid <> all (
            '{bool,int2,int4,int8,oid,uuid,date,timestamp,text,varchar,bpchar,numeric,bytea,json,jsonb}'::regtype[]
        )
        and t.typtype <> 'e'
    ), false)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attname = any (names)
$$;

CREATE FUNCTION bridge._note_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
declare
    stays pg_catalog.bool;
begin
    -- A default partition that has no sibling has no constraint.
    execute pg_catalog.format(
        'select %s from (select ($1).*) as r', coalesce(pg_catalog.pg_get_partition_constraintdef(tg_relid), 'true')
    ) into stays using new;
    perform pg_catalog.set_config('bridge.moves', case when stays then 'no' else 'yes' end, true);
    return new;
end
$_$;

CREATE FUNCTION bridge._operations(w bridge.watch) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when 'update' = any (w.operations) and exists (select from pg_class where oid = w.relation and relkind = 'p')
        then w.operations || '{note,move}'::text[]
        else w.operations
    end
$$;

CREATE FUNCTION bridge._partition_columns(relation regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select case
        when bool_or(k.attnum = 0) then array(
            select c.attname::text from pg_attribute c
            where c.attrelid = $1 and c.attnum > 0 and not c.attisdropped and c.attgenerated = '' order by c.attnum
        )
        else array_agg(distinct a.attname::text)
    end
    from pg_partition_tree(relation) t
    join pg_partitioned_table p on p.partrelid = t.relid
    cross join unnest(p.partattrs::smallint[]) as k (attnum)
    left join pg_attribute a on a.attrelid = p.partrelid and a.attnum = k.attnum
$_$;

CREATE FUNCTION bridge._parts(type oid) RETURNS TABLE(part oid, relation oid, is_leaf boolean)
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
            select t.typelem where t.typsubscript = 'array_subscript_handler'::regproc
            union all
            select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) as inner_ (oid)
        where inner_.oid <> 0
    )
    select
        t.oid, t.typrelid,
        t.typbasetype = 0 and t.typrelid = 0 and t.typsubscript <> 'array_subscript_handler'::regproc
    from part
    join pg_type t on t.oid = part.oid
$$;

CREATE FUNCTION bridge._place() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select bridge._cluster() || '/' || oid from pg_database where datname = current_database() $$;

CREATE FUNCTION bridge._plan(wanted jsonb, relations regclass[], prune boolean, source text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    twice text;
begin
    select w ->> 'name' into twice from jsonb_array_elements(wanted) w group by 1 having count(*) > 1 limit 1;
    if twice is not null then
        raise exception 'watch "%" is declared twice; give each watch its own name', twice
            using errcode = 'invalid_parameter_value';
    end if;
    return query
        with declared as materialized (
            select i.item, bridge._missing(i.item, relations[i.place]) as missing, relations[i.place] as relation
            from jsonb_array_elements(wanted) with ordinality as i (item, place)
        ),
        checked as materialized (
            -- A watch whose table is missing can't be checked.
            select case when d.missing is null then bridge._wanted(d.item, d.relation) end as w from declared d
        ),
        target as (
            select (c.w).name, c.w as row_, bridge._definition(c.w) as definition
            from checked c
            where (c.w).name is not null
        ),
        late as (
            select d.item ->> 'name' as name, d.missing from declared d where d.missing is not null
        ),
        present as (
            select w.name, w as row_, bridge._definition(w) as definition from bridge.watch w where w.removed_at is null
        )
        select
            case
                when p.name is null then 'create'
                when t.name is null then 'remove'
                when p.definition <> t.definition then 'replace'
                when not bridge._is_intact(p.row_) then 'repair'
                else 'keep'
            end,
            coalesce(t.name, p.name), p.definition, t.definition
        from target t
        full join present p on p.name = t.name
        -- Pruning removes only watches of the same source: Django's watches and those of a bridge.toml live side by
        -- side.
        where t.name is not null
            or prune and p.definition -> 'options' ->> 'source' is not distinct from _plan.source
            and not exists (select from late l where l.name = p.name)
        union all
        select 'later', l.name, p.definition, jsonb_build_object('reason', l.missing)
        from late l
        left join present p on p.name = l.name
        order by 2;
end
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

CREATE FUNCTION bridge._quoted_sql(name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select '"' || replace(name, '"', '""') || '"' $$;

CREATE FUNCTION bridge._read(row_ anyelement, name text, OUT value jsonb, OUT problem text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    type oid;
begin
    begin
        execute format('select pg_typeof(($1).%I)', name) into type using row_;
        execute format('select to_jsonb(%s)', bridge._value_sql(type, format('($1).%I', name))) into value using row_;
    exception when others then
        execute format('select case when ($1).%1$I is not null then to_jsonb(format(''%%s'', ($1).%1$I)) end', name)
        into value using row_;
    end;
exception when others then
    problem := sqlerrm;
end
$_$;

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

CREATE FUNCTION bridge._reading_sql(w bridge.watch, op text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    parts text[] := '{}';
    carried text;
    statements text[];
begin
    if w.data is not null then
        parts := parts || case when op <> 'insert' then '''old'', ' || bridge._data_sql(w, 'old') end
            || case when op <> 'delete' then '''new'', ' || bridge._data_sql(w, 'new') end;
    end if;
    if op = 'update' and bridge._carries_data(w) then
        parts := parts || (
            select format('''changed'', pg_catalog.array_remove(array[%s]::pg_catalog.text[], null)', string_agg(
                format('case when %s then %L end', bridge._differs_sql(w.relation, n), n), ', ' order by n collate "C"
            ))
            from unnest(bridge._compared(w)) n
        );
    end if;
    parts := array_remove(parts, null);
    carried := case when cardinality(parts) > 0 then bridge._json_object_sql(parts) end;
    statements := array[
        format('k := %s;', bridge._key_sql(w, case op when 'delete' then 'old' else 'new' end)),
        'd := ' || carried || ';'
    ];
    if op = 'update' then
        -- An update that changes the key is one event, which carries both keys.
        statements := statements || format(
            'if %s then d := %s; end if;',
            (
                select string_agg(bridge._differs_sql(w.relation, k), ' or ')
                from unnest(bridge._key(w.relation, w.key)) k
            ),
            concat_ws(
                ' operator(pg_catalog.||) ', case when carried is not null then 'd' end,
                bridge._json_object_sql(array['''old_key'', ' || bridge._key_sql(w, 'old')])
            )
        );
    end if;
    return array_to_string(array_remove(statements, null), E'\n            ');
end
$$;

CREATE FUNCTION bridge._refusing(complaint text) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select distinct t.tgrelid::regclass
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'bridge'::regnamespace
    where not t.tgisinternal and t.tgparentid = 0 and bridge._mentions(complaint, t.tgname)
$$;

CREATE FUNCTION bridge._relations(wanted jsonb) RETURNS regclass[]
    LANGUAGE sql STABLE
    AS $$
    select pg_catalog.array_agg(
        pg_catalog.to_regclass(w.item operator(pg_catalog.->>) 'relation'::pg_catalog.text) order by w.place
    )
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (item, place)
$$;

CREATE FUNCTION bridge._remember(w bridge.watch) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select jsonb_build_object(
        'place', bridge._place(),
        'relation', w.relation::oid::bigint,
        'key', to_jsonb(bridge._key(w.relation, w.key)),
        'data', to_jsonb(w.data),
        'compared', case when not bridge._lists_all(w) then to_jsonb(bridge._compared(w)) end,
        'numbers', (
            select jsonb_object_agg(a.attname, a.attnum)
            from pg_attribute a
            where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (
                bridge._key(w.relation, w.key) || coalesce(w.data, '{}') || coalesce(w.columns, '{}')
                || bridge._compared(w)
                || coalesce(bridge._columns_in_condition(w, by_name => false), '{}')
            )
        )
    )
$$;

CREATE FUNCTION bridge._require_allowed(tasks text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    refused text;
begin
    select t into refused
    from unnest(tasks) with ordinality as u (t, place)
    where not exists (select from bridge.sendable s where s.task = u.t)
    order by place
    limit 1;
    if found then
        raise exception 'task "%" may not be sent', refused
            using errcode = 'insufficient_privilege',
                hint = 'The owner of schema bridge allows it: select bridge.allow(''...'').';
    end if;
end
$$;

CREATE FUNCTION bridge._require_read_committed(what text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception '% works at the isolation level read committed only, not at %',
            what, current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state',
                hint = 'Begin the transaction with: begin isolation level read committed.';
    end if;
end
$$;

CREATE FUNCTION bridge._send(data jsonb, stream text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wake bigint;
    event_id bigint;
begin
    select s.sleep_key into wake from bridge.stream s where s.name = _send.stream;
    if wake is null then
        raise exception 'there is no stream "%"', stream using errcode = 'invalid_parameter_value';
    end if;
    insert into bridge.ring (stream, watch, op, data) values (stream, '', 'send', data) returning id into event_id;
    if not pg_try_advisory_xact_lock_shared(wake) then
        perform pg_notify('bridge:' || stream, '');
    end if;
    return event_id;
end
$$;

CREATE FUNCTION bridge._slowly(remembered jsonb, op text, relation regclass, old_row anyelement, new_row anyelement, OUT key jsonb, OUT data jsonb) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'iso_8601'
    SET bytea_output TO 'hex'
    SET extra_float_digits TO '1'
    SET lc_monetary TO 'C'
    AS $_$
declare
    -- The table to which the numbers belong; null where they mean nothing.
    origin constant oid := case
        when remembered ->> 'place' = bridge._place() and (remembered ->> 'relation')::oid in (
            select relation::oid union all select a from pg_partition_ancestors(relation) a
        ) then (remembered ->> 'relation')::oid
    end;
    c record;
    problems text[] := '{}';
    before jsonb := '{}';
    after jsonb := '{}';
    old_key jsonb := '[]';
    changed text[] := '{}';
    rekeyed boolean := false;
    differs boolean;
    read_ record;
begin
    key := '[]';
    for c in
        select
            n.name, n.is_key, n.is_data, n.is_compared,
            case
                when origin is null then n.name
                else bridge._column_name(origin, (remembered -> 'numbers' ->> n.name)::integer)
            end as name_now
        from (
            select
                x.name, bool_or(x.use = 'key') as is_key, bool_or(x.use = 'data') as is_data,
                bool_or(x.use = 'compared') as is_compared,
                min(x.place) filter (where x.use = 'key') as place
            from (
                select u.use, e.name, e.place
                from (values ('key'), ('data'), ('compared')) as u (use)
                cross join jsonb_array_elements_text(coalesce(nullif(remembered -> u.use, 'null'), '[]'))
                    with ordinality as e (name, place)
                union all
                -- All columns, including those that were added later.
                select 'compared', coalesce(r.name, a.name), null
                from bridge._columns_now(coalesce(origin, relation)) a
                left join lateral (
                    select r.key as name
                    from jsonb_each_text(remembered -> 'numbers') r
                    where origin is not null and r.value::integer = a.number
                ) r on true
                where remembered -> 'compared' = 'null' and op = 'update'
            ) x
            group by x.name
        ) n
        order by n.place, n.name collate "C"
    loop
        -- A column that was added after the watch has no number here.
        if c.name_now is null and not coalesce(remembered -> 'numbers' ? c.name, false) then
            c.name_now := c.name;
        end if;
        if c.name_now is null then
            if c.is_key then
                key := key || jsonb_build_array(null);
                old_key := old_key || jsonb_build_array(null);
                problems := problems || format('the column "%s" of the key is gone', c.name);
            end if;
            continue;
        end if;
        if op <> 'delete' and (c.is_key or c.is_data) then
            select * into read_ from bridge._read(new_row, c.name_now);
            if c.is_data then after := after || jsonb_build_object(c.name, read_.value); end if;
            if c.is_key then key := key || jsonb_build_array(read_.value); end if;
            if read_.problem is not null then problems := problems || format('"%s": %s', c.name, read_.problem); end if;
        end if;
        if op <> 'insert' and (c.is_key or c.is_data) then
            select * into read_ from bridge._read(old_row, c.name_now);
            if c.is_data then before := before || jsonb_build_object(c.name, read_.value); end if;
            if c.is_key then old_key := old_key || jsonb_build_array(read_.value); end if;
            if read_.problem is not null then problems := problems || format('"%s": %s', c.name, read_.problem); end if;
        end if;
        if op = 'update' and (c.is_compared or c.is_key) then
            begin
                execute format('select record_image_ne(row(($1).%1$I), row(($2).%1$I))', c.name_now)
                into differs using old_row, new_row;
            exception when others then
                differs := true;
            end;
            if differs and c.is_compared then changed := changed || c.name; end if;
            -- As values, not as JSON: a NULL and the jsonb value null look alike there.
            rekeyed := rekeyed or differs and c.is_key;
        end if;
    end loop;
    if op = 'delete' then
        key := old_key;
    end if;
    data := case
            when op <> 'insert' and remembered -> 'data' <> 'null' then jsonb_build_object('old', before) else '{}'
        end
        || case
            when op <> 'delete' and remembered -> 'data' <> 'null' then jsonb_build_object('new', after) else '{}'
        end
        || case when op = 'update' and remembered -> 'compared' is distinct from '[]' then
            jsonb_build_object('changed', array(select n from unnest(changed) n order by n collate "C")) else '{}' end
        || case
            when rekeyed then jsonb_build_object('old_key', old_key) else '{}'
        end
        || case when cardinality(problems) > 0 then
            jsonb_build_object('unreadable', (select string_agg(distinct p, '; ') from unnest(problems) p))
            else '{}' end;
    data := nullif(data, '{}');
exception when others then
    -- Whatever a row or a table is like, it must not fail the writer.
    data := jsonb_build_object('unreadable', sqlerrm);
end
$_$;

CREATE FUNCTION bridge._texts(list jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select case jsonb_typeof(list) when 'array' then array(select jsonb_array_elements_text(list)) end $$;

CREATE FUNCTION bridge._token_sql(token text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when starts_with(token, '''') and strpos(token, chr(92)) > 0
            then 'E' || replace(token, chr(92), chr(92) || chr(92))
        else token
    end
$$;

CREATE FUNCTION bridge._tokens(condition text) RETURNS TABLE(place bigint, token text, row_name text, column_name text)
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select
        t.place, t.token[1], lower(btrim(t.token[2], '"') collate "C"),
        case
            when t.token[2] is null then null
            when t.token[3] is null then '*'
            when t.token[3] like '"%' then replace(substr(t.token[3], 2, length(t.token[3]) - 2), '""', '"')
            -- PostgreSQL changes the case of ASCII letters only, as the collation C does.
            else lower(t.token[3] collate "C")
        end
    from regexp_matches(
        coalesce(condition, ''),
        -- a literal
        $re$('(?:[^']|'')*'|$re$
        -- a reference to a row (not after a dot)
        || $re$(?<![.[:alnum:]_$"])([oO][lL][dD]|[nN][eE][wW]|"old"|"new")(?![[:alnum:]_$])$re$
        -- its column
        || $re$(?:\s*\.\s*("(?:[^"]|"")+"|[^][[:space:]"'.,;:()<>=+*/%^|&~!@#`?-]+|\*))?$re$
        -- a quoted name, a word, any other character
        || $re$|"(?:[^"]|"")*"|[[:alnum:]_$]+|.)$re$,
        'g'
    ) with ordinality as t (token, place)
$_$;

CREATE FUNCTION bridge._torn() RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select distinct w.relation
    from bridge.watch w
    join pg_class c on c.oid = w.relation
    where w.removed_at is null and exists (
        select from unnest(bridge._operations(w)) op
        where not exists (
            select from pg_trigger t where t.tgrelid = w.relation and t.tgname = bridge._trigger_name(op, w.name)::name
        )
    )
$$;

CREATE FUNCTION bridge._trigger_ddl(w bridge.watch, op text, loose boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    tests text[] := '{}';
begin
    if op in ('note', 'move') then
        tests := tests || ('(' || (
            select string_agg(bridge._changed_sql(w.relation, c), ' or ')
            from unnest(bridge._partition_columns(w.relation)) c
        ) || ')');
    end if;
    if op = 'move' then
        tests := tests || 'pg_catalog.current_setting(''bridge.moves'', true) = ''yes'''::text;
    end if;
    if op in ('update', 'move') and w.columns is not null and not loose then
        tests := tests || ('(' || (
            select string_agg(bridge._changed_sql(w.relation, c), ' or ') from unnest(w.columns) c
        ) || ')');
    elsif op = 'update' and w.options -> 'unchanged' is distinct from 'true' and not loose then
        -- The comparison of whole rows by their bytes names no column, works for every type, and stops at the first
        -- column that differs.
        tests := tests || 'pg_catalog.record_image_ne(old.*, new.*)'::text;
    end if;
    if op not in ('truncate', 'note') and w.condition is not null and not bridge._asks_inside(w) and not loose then
        tests := tests || bridge._condition_sql(w, op);
    end if;
    if w.options -> 'may_skip' = 'true' then
        tests := tests || 'pg_catalog.current_setting(''bridge.capture'', true) is distinct from ''off'''::text;
    end if;
    return format(
        'create or replace trigger %I %s on %s for each %s %s execute function bridge.%I()',
        bridge._trigger_name(op, w.name),
        case
            when op in ('note', 'move') then 'before update'
            -- PostgreSQL decides this once per statement, by its SET list, before it evaluates the WHEN.
            when op = 'update' and w.options -> 'named_only' = 'true' and not loose then
                'after update of ' || (select string_agg(format('%I', c), ', ') from unnest(w.columns) c)
            else 'after ' || op
        end,
        w.relation, case op when 'truncate' then 'statement' else 'row' end,
        coalesce('when (' || nullif(array_to_string(tests, ' and '), '') || ')', ''),
        case op when 'note' then '_note_move' else 'capture_' || w.name end
    );
end
$$;

CREATE FUNCTION bridge._trigger_name(op text, watch_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- BEFORE triggers fire in alphabetical order. Ours come last, since triggers before them may still change the row.
    select case op
        when 'note' then 'zzy_bridge_move_'
        when 'move' then 'zzz_bridge_move_'
        else format('bridge_%s_', op)
    end || watch_name
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
            select from pg_partition_tree(t.tgrelid) p
            join pg_trigger c on c.tgrelid = p.relid and c.tgname = t.tgname
            where c.tgfoid = t.tgfoid and c.tgparentid <> 0 and c.tgenabled <> t.tgenabled
        )
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'bridge'::regnamespace
    left join unnest('{insert,update,delete,truncate,note,move}'::text[]) as o (op)
        on t.tgname = bridge._trigger_name(o.op, watch_name)::name
    left join bridge.watch w on w.name = watch_name
    where not t.tgisinternal and t.tgparentid = 0 and (o.op is not null or p.proname = ('capture_' || watch_name)::name)
$$;

CREATE FUNCTION bridge._triggers_ddl(w bridge.watch, loose boolean DEFAULT false) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array(
            select bridge._trigger_ddl(w, op, loose)
            from unnest(bridge._operations(w)) with ordinality as o (op, n)
            order by n
        )
        || array(
            -- On a replica (session_replication_role, logical replication) ordinary triggers do not fire.
            select format(
                'alter table %s enable %s trigger %I', w.relation,
                case w.options -> 'always' when 'true' then 'always' else '' end,
                bridge._trigger_name(op, w.name)
            )
            from unnest(bridge._operations(w)) with ordinality as o (op, n)
            order by n
        )
$$;

CREATE FUNCTION bridge._value_sql(type oid, value text, is_part boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    base constant oid := bridge._base_type(type);
    t pg_type;
    has_foreign boolean := false;
    holds_json boolean;
    is_as_seen boolean := true;
begin
    if base = 'numeric'::regtype and not is_part then
        return format('%s::pg_catalog.text', value);
    elsif base = 'bytea'::regtype and not is_part then
        -- An escape string means the same text whatever standard_conforming_strings says.
        return format(E'E''\\\\x'' operator(pg_catalog.||) pg_catalog.encode(%s, ''hex'')', value);
    end if;
    select * into t from pg_type where oid = base;
    holds_json := base in ('json'::regtype, 'json[]'::regtype);
    if not coalesce(bridge._is_builtin(base), false) then
        select
            bool_or(is_leaf and not bridge._is_builtin(part)), bool_or(part = 'json'::regtype),
            bool_and(bridge._is_as_seen(relation))
        into has_foreign, holds_json, is_as_seen
        from bridge._parts(base);
    end if;
    if is_as_seen is not true then
        -- The type was made or altered after the transaction's snapshot, so we can't know its parts.
        return format(
            'case when pg_catalog.num_nonnulls(%1$s) operator(pg_catalog.=) 1 '
            'then pg_catalog.format(''%%s'', %1$s) end',
            value
        );
    elsif has_foreign is false then
        return case when holds_json then format('bridge._json(%s)', value) else value end;
    elsif t.typrelid <> 0 then
        -- IS NULL would also be true for a row of NULLs.
        return format(
            'case when pg_catalog.num_nonnulls(%1$s) operator(pg_catalog.=) 1 then %2$s end', value,
            bridge._json_object_sql(array(
                select format(
                    '%L, %s', a.attname, bridge._value_sql(a.atttypid, format('(%s).%I', value, a.attname), true)
                )
                from pg_attribute a
                where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                order by a.attnum
            ))
        );
    elsif t.typsubscript = 'array_subscript_handler'::regproc
        and (select e.typrelid from pg_type e where e.oid = bridge._base_type(t.typelem)) = 0 then
        return format(
            'case when %1$s is not null '
            'then pg_catalog.to_jsonb(pg_catalog.format(''%%s'', %1$s)::pg_catalog.text[]) end',
            value
        );
    elsif t.typsubscript = 'array_subscript_handler'::regproc then
        return format(
            'case when %1$s is not null then (select coalesce(pg_catalog.jsonb_agg(%2$s), ''[]'') '
            'from (select pg_catalog.unnest(%1$s) as item) as i) end',
            value, bridge._value_sql(t.typelem, 'i.item', true)
        );
    else
        return format('case when %1$s is not null then pg_catalog.format(''%%s'', %1$s) end', value);
    end if;
end
$_$;

CREATE FUNCTION bridge._waits_in_foreign_log(id bigint, xid xid8, at timestamp with time zone, seen pg_snapshot, upto pg_snapshot, after_id bigint, largest_id bigint, moved_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
 SELECT ((id > largest_id) OR (at > moved_at) OR ((NOT pg_visible_in_snapshot(xid, seen)) AND ((upto IS NULL) OR (id > after_id) OR (NOT pg_visible_in_snapshot(xid, upto)))));
END;

CREATE FUNCTION bridge._wanted(item jsonb, relation regclass) RETURNS bridge.watch
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
        raise exception 'watch "%": unknown parameter "%"; the parameters are: %',
            item ->> 'name', unknown, array_to_string(known, ', ')
            using errcode = 'invalid_parameter_value';
    end if;
    if relation is null then
        raise exception 'watch "%": table % does not exist',
            item ->> 'name', coalesce(item ->> 'relation', '(none is named)')
            using errcode = 'undefined_table',
                hint = 'Quote a name with capitals or spaces as SQL does: "Odd Name", or "My Schema"."Odd Name".';
    end if;
    w := bridge._watch(
        item ->> 'name', relation, item ->> 'task',
        coalesce(bridge._texts(item -> 'operations'), '{insert,update,delete}'), bridge._texts(item -> 'columns'),
        item ->> 'condition', bridge._texts(item -> 'key'), bridge._texts(item -> 'data'), item -> 'options',
        item ->> 'stream'
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
        '', clock_timestamp(), null, null
    )::bridge.watch
$$;

CREATE FUNCTION bridge._watches_of(relation regclass) RETURNS SETOF bridge.watch
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive down (oid) as (
        select relation::oid
        union
        select i.inhrelid from down d join pg_inherits i on i.inhparent = d.oid
    ), up (oid) as (
        select relation::oid
        union
        select i.inhparent from up u join pg_inherits i on i.inhrelid = u.oid
    )
    select w.*
    from bridge.watch w
    join pg_class c on c.oid = w.relation
    where w.removed_at is null and w.relation in (select oid from down union select oid from up)
    order by w.name
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
    -- A restore without triggers may bring a second position. The one of this cluster that moved last counts.
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
    -- This is one statement, since it has one snapshot: no writer's commit can fall between judging the events and
    -- moving the position.
    return query
        with adopted as (
            update bridge.event e
            -- 2 is the id of frozen rows, which is older than every snapshot.
            set xid = case
                when bridge._waits_in_foreign_log(
                    e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at
                )
                then pg_current_xact_id() else '2' end
            where e.stream = adopt.stream
                and (
                    bridge._waits_in_foreign_log(
                        e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at
                    )
                    or not pg_visible_in_snapshot(e.xid, (select bridge._present()))
                )
            returning e.xid
        ),
        moved as (
            update bridge.position x
            set
                seen = bridge._present(), upto = null, after_id = null, cluster = bridge._cluster(),
                moved_at = clock_timestamp()
            where x.stream = adopt.stream
        )
        select
            case
                when p.cluster <> bridge._cluster() then 'it was restored from another cluster'
                else
                    'its position lies ahead of this server''s transactions: '
                    'it was restored from another copy of this cluster'
            end,
            count(*) filter (where a.xid <> '2')
        from adopted a;
end
$$;

COMMENT ON FUNCTION bridge.adopt(stream text) IS 'Adopts the log of a stream that was restored from elsewhere: returns the reason, and how many events wait in it; no row if nothing had to be done. For bridge run.';

CREATE FUNCTION bridge.allow(task text, source text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update bridge.installation set generation = generation + 1;
    -- What a person has allowed stays a person's, and what a person allows becomes one's.
    insert into bridge.sendable as s values (task, allow.source)
        on conflict on constraint sendable_pkey do update set source = null where excluded.source is null;
end
$$;

COMMENT ON FUNCTION bridge.allow(task text, source text) IS 'Lets send() and send_task() start this task.';

CREATE FUNCTION bridge.allow_only(tasks text[], source text) RETURNS TABLE(action text, task text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tasks is null or source is null then
        raise exception 'allow_only: tasks and source can''t be null' using errcode = 'null_value_not_allowed';
    end if;
    -- Two programs that migrate together take turns. Without a difference nothing is locked or written.
    if not exists (
        select from unnest(tasks) t (name) full join (
            select s.task as name from bridge.sendable s where s.source = allow_only.source
        ) kept using (name)
        where kept.name is null and not exists (select from bridge.sendable s where s.task = t.name)
            or t.name is null
    ) then
        return;
    end if;
    update bridge.installation set generation = generation + 1;
    return query
        with gone as (
            delete from bridge.sendable s
            where s.source = allow_only.source and s.task <> all (tasks)
            returning s.task
        ),
        added as (
            insert into bridge.sendable as s (task, source)
            select distinct t, allow_only.source from unnest(tasks) t
            on conflict on constraint sendable_pkey do nothing
            returning s.task
        )
        select 'disallow', g.task from gone g
        union all
        select 'allow', a.task from added a
        order by 1 desc, 2;
end
$$;

COMMENT ON FUNCTION bridge.allow_only(tasks text[], source text) IS 'Allows these tasks for a source, and no longer allows its other ones; returns what it changed. What other sources and people have allowed stays.';

CREATE FUNCTION bridge.alter(relation regclass, clauses text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    perform bridge._lock_for_alter(relation);
    begin
        execute pg_catalog.format('alter table %s %s', relation, clauses);
    exception when feature_not_supported or dependent_objects_still_exist then
        if not bridge.step_aside(relation) then raise; end if;
        execute pg_catalog.format('alter table %s %s', relation, clauses);
    end;
    perform bridge.step_back(relation);
end
$$;

COMMENT ON FUNCTION bridge.alter(relation regclass, clauses text) IS 'ALTER TABLE for a watched table, with any clauses, in one transaction and without an unrecorded change. The watches follow the change.';

CREATE FUNCTION bridge.apply(wanted jsonb, prune boolean DEFAULT false, source text DEFAULT NULL::text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE sql
    AS $$ select action, name, before, after from bridge._apply(wanted, bridge._relations(wanted), prune, source) $$;

COMMENT ON FUNCTION bridge.apply(wanted jsonb, prune boolean, source text) IS 'Changes the watches to those of a JSON array of objects whose keys are the parameters of watch(); returns the rows of plan(). A watch that is for later stays as it is.';

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

COMMENT ON FUNCTION bridge.await_lock(key bigint, at_most interval) IS 'Whether this session got the advisory lock within `at_most`. For bridge run only.';

CREATE FUNCTION bridge.bury(stream text, ids bigint[], ats timestamp with time zone[], xids xid8[], reasons text[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_nestloop TO 'off'
    SET jit TO 'off'
    AS $$
    with asked as materialized (
        select *
        from unnest(ids, ats, xids, reasons) with ordinality as a (id, at, xid, reason, place)
    ), written as (
        select e.*, case when e.at >= '0001-01-02' and e.at < '9999-12-31' then e.at end as said_at
        from (select distinct xid from asked) as t
        cross join lateral (
            select x.*
            from bridge.event x
            where x.lane = any ('{0,1,2,3,4,5,6,7}') and x.stream = bury.stream and x.xid = t.xid
            offset 0
        ) as e
    ), buried as (
        insert into bridge.dead_letter as d (id, stream, watch, op, key, data, context, at, reason)
        select distinct on (w.id, w.at, hashtextextended(w.watch, 0))
            w.id, w.stream, w.watch, w.op, w.key, w.data, w.context, w.at, r.reason
        from written w
        join asked r on r.id = w.id and r.xid = w.xid and r.at is not distinct from w.said_at
        order by w.id, w.at, hashtextextended(w.watch, 0), r.place desc
        on conflict (id, at, stream, hashtextextended(watch, 0)) do update
            set reason = excluded.reason, failed_at = clock_timestamp()
        returning true
    )
    select count(*) from buried
$$;

COMMENT ON FUNCTION bridge.bury(stream text, ids bigint[], ats timestamp with time zone[], xids xid8[], reasons text[]) IS 'Copies events of the log into bridge.dead_letter, with the reasons; returns their number. For bridge run only.';

CREATE FUNCTION bridge.disallow(task text, source text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update bridge.installation set generation = generation + 1;
    delete from bridge.sendable s
    where s.task = disallow.task and (disallow.source is null or s.source = disallow.source);
    return found;
end
$$;

COMMENT ON FUNCTION bridge.disallow(task text, source text) IS 'No longer lets send() and send_task() start this task; with a source, only if that source has allowed it. A task that was sent and still waits becomes a dead letter.';

CREATE FUNCTION bridge.discard(ids bigint[] DEFAULT NULL::bigint[], watch text DEFAULT NULL::text, stream text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, at_most integer DEFAULT NULL::integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chosen constant tid[] := array(select bridge._chosen_letters(ids, watch, stream, since, until, at_most));
begin
    with gone as (delete from bridge.dead_letter d where d.ctid = any (chosen) returning d.*)
    insert into bridge.decision (id, stream, watch, at, decision, reason)
    select g.id, g.stream, g.watch, g.at, 'discarded', g.reason from gone g;
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
        and not case
            when exists (select from pg_class c where c.oid = w.relation) then bridge._is_intact(w) else false
        end
    order by 1
$$;

COMMENT ON FUNCTION bridge.drift() IS 'Watches whose triggers are missing, disabled or outdated, or whose table was dropped; apply() repairs them.';

CREATE FUNCTION bridge.fate(stream text, watch text, id bigint, at timestamp with time zone, xid xid8) RETURNS TABLE(fate text, reason text, since timestamp with time zone, context text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select
        case
            when decided.decision is not null then decided.decision
            when letter.reason is not null then 'dead'
            when position.delivered is not true then 'waits'
            when watch.is_shadow then 'skipped'
            else 'published'
        end,
        coalesce(decided.reason, letter.reason),
        coalesce(decided.decided_at, letter.failed_at),
        decided.context
    from (select 1) as always
    left join lateral (
        select d.decision, d.reason, d.decided_at, d.context
        from bridge.decision d
        where d.id = fate.id and d.at = fate.at and d.stream = fate.stream and d.watch = fate.watch and d.xid > fate.xid
        order by d.xid
        limit 1
    ) as decided on true
    left join lateral (
        select l.reason, l.failed_at
        from bridge.dead_letter l
        where l.id = fate.id and l.at = fate.at and l.stream = fate.stream and l.watch = fate.watch
        limit 1
    ) as letter on true
    left join lateral (
        select
            case
                when bridge._is_foreign(p.cluster, p.seen, p.upto, p.xmin) then
                    not bridge._waits_in_foreign_log(
                        fate.id, fate.xid, fate.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at
                    )
                else
                    pg_visible_in_snapshot(fate.xid, p.seen)
                    or p.upto is not null and fate.id <= p.after_id and pg_visible_in_snapshot(fate.xid, p.upto)
            end as delivered
        from bridge.position p
        where p.stream = fate.stream
        limit 1
    ) as position on true
    left join lateral (
        select w.options -> 'shadow' is not distinct from 'true' as is_shadow
        from bridge.watch w
        where w.name = fate.watch
    ) as watch on true
$$;

COMMENT ON FUNCTION bridge.fate(stream text, watch text, id bigint, at timestamp with time zone, xid xid8) IS 'What became of an event of the log: waits, published, skipped, dead, retried or discarded; why, since when, and the context of the person who decided.';

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

COMMENT ON FUNCTION bridge.forget(older_than interval, at_most integer) IS 'Deletes old entries of the inbox, at most `at_most`; returns their number.';

CREATE FUNCTION bridge.note_publishes(publishes jsonb) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    with noted as (
        insert into bridge.shadow_publish (at, task, args, inside, xid, place)
        select
            clock_timestamp() - make_interval(secs => least(greatest(p.age, 0), 86400)),
            p.task, p.args, coalesce(p.inside, false), p.xid::xid8, "left"(p.place, 200)
        from jsonb_path_query(publishes, '$[0 to 999] ? (@.type() == "object")') as item (value)
        cross join lateral jsonb_to_record(item.value)
            as p (task text, args jsonb, inside boolean, xid text, place text, age double precision)
        where pg_total_relation_size('bridge.shadow_publish') < 268435456
            and jsonb_typeof(p.args) = 'array' and octet_length(p.args::text) <= 2000
            and exists (
                select from bridge.watch w
                where w.task = p.task and w.removed_at is null and w.options -> 'shadow' = 'true'
            )
        returning true
    )
    select count(*) from noted
$_$;

COMMENT ON FUNCTION bridge.note_publishes(publishes jsonb) IS 'Notes what the old dispatch published for tasks of shadow watches; returns the number.';

CREATE FUNCTION bridge.once(id uuid) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with noted as (insert into bridge.inbox (id) values (once.id) on conflict do nothing returning true)
    select exists (select from noted)
$$;

COMMENT ON FUNCTION bridge.once(id uuid) IS 'Notes a task''s id in the calling transaction: true the first time, false if it was noted before.';

CREATE FUNCTION bridge.plan(wanted jsonb, prune boolean DEFAULT false, source text DEFAULT NULL::text) RETURNS TABLE(action text, name text, before jsonb, after jsonb)
    LANGUAGE sql STABLE
    AS $$ select action, name, before, after from bridge._plan(wanted, bridge._relations(wanted), prune, source) $$;

COMMENT ON FUNCTION bridge.plan(wanted jsonb, prune boolean, source text) IS 'What apply() would do: one row per watch, with the action create, replace, repair (triggers are missing, disabled or outdated), keep, later (the table or a column does not exist yet: "after" has the reason), or, with prune, remove.';

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
        raise exception 'the log keeps events for up to 24 hours, not for %', retention
            using errcode = 'invalid_parameter_value';
    end if;
    delete from bridge.shadow_publish p
    where p.id = any (array(
        select old.id from bridge.shadow_publish old
        where old.at < clock_timestamp() - recycle.retention order by old.at limit 100000
    ));
    -- Until a restored log is adopted, its position alone does not show which events wait in it.
    if exists (select from bridge.position p where bridge._is_foreign(p.cluster, p.seen, p.upto, p.xmin)) then
        return done;
    end if;
    -- The loop goes from the youngest slot that is no longer written to the oldest.
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
            null; -- a session reads or writes it; the next call tries again
        end;
    end loop;
    -- A slot spans four hours, and the log keeps events for up to a day.
    if cardinality(done) > 0 then
        delete from bridge.decision d where d.decided_at < clock_timestamp() - interval '32 hours';
    end if;
    return done;
end
$$;

CREATE FUNCTION bridge.refresh() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w bridge.watch;
    refreshed bigint := 0;
begin
    for w in
        select x.*
        from bridge.watch x
        join pg_class c on c.oid = x.relation
        where x.removed_at is null and x.fingerprint <> ''
            and (x.remembered ->> 'place' <> bridge._place() or (x.remembered ->> 'relation')::oid <> c.oid)
        for update of x
    loop
        continue when bridge._fingerprint(w) is distinct from w.fingerprint;
        perform bridge._install_function(w);
        update bridge.watch x set remembered = bridge._remember(w) where x.name = w.name;
        refreshed := refreshed + 1;
    end loop;
    return refreshed;
end
$$;

COMMENT ON FUNCTION bridge.refresh() IS 'Gives capture the numbers that tables and columns have here, after a restore; returns how many watches needed it. `bridge run` calls it.';

CREATE FUNCTION bridge.restless_keys(at_least bigint DEFAULT 100, within interval DEFAULT '00:05:00'::interval) RETURNS TABLE(watch text, key jsonb, changes bigint, seconds bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select e.watch, e.key, count(*), ceil(extract(epoch from max(e.at) - min(e.at)))::bigint
    from bridge.stream s
    cross join generate_series(0, 7) as l (lane)
    cross join lateral (
        select x.watch, x.key, x.at, x.op
        from bridge.event x
        where x.lane = l.lane and x.stream = s.name
        order by x.xid desc
        limit 2500
    ) as e
    where e.at > clock_timestamp() - within and isfinite(e.at) and e.key is not null and e.op <> 'send'
    group by e.watch, e.key
    having count(*) >= at_least
    order by 3 desc, 1
    limit 10
$$;

COMMENT ON FUNCTION bridge.restless_keys(at_least bigint, within interval) IS 'Rows that changed at least so often within a short time: does the task of the watch write the row that starts it?';

CREATE FUNCTION bridge.retry(ids bigint[] DEFAULT NULL::bigint[], watch text DEFAULT NULL::text, stream text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, at_most integer DEFAULT NULL::integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chosen constant tid[] := array(select bridge._chosen_letters(ids, watch, stream, since, until, at_most));
    p record;
begin
    for p in
        select x.stream, bridge._is_foreign(x.cluster, x.seen, x.upto, x.xmin) as is_foreign, s.sleep_key
        from bridge.position x
        join bridge.stream s on s.name = x.stream
        where x.stream in (select d.stream from bridge.dead_letter d where d.ctid = any (chosen))
    loop
        -- Until the log is adopted, ids decide which of its events are old, so none may be added with an old id.
        if p.is_foreign then
            raise exception
                'stream "%" was restored from elsewhere and not served since: start the bridge first', p.stream
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        if not pg_try_advisory_xact_lock_shared(p.sleep_key) then
            perform pg_notify('bridge:' || p.stream, '');
        end if;
    end loop;
    with gone as (
        delete from bridge.dead_letter d where d.ctid = any (chosen) returning d.*
    ), noted as (
        insert into bridge.decision (id, stream, watch, at, decision, reason)
        select g.id, g.stream, g.watch, g.at, 'retried', g.reason from gone g
    )
    insert into bridge.ring (id, stream, watch, op, key, data, context, at)
    select
        g.id, g.stream, g.watch, g.op, g.key, g.data,
        regexp_replace(g.context, '"depth": ?\d+, ?"chain": ?\[', '"depth": 0, "chain": ['), g.at
    from gone g
    order by g.id, g.at;
    return cardinality(chosen);
end
$$;

COMMENT ON FUNCTION bridge.retry(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) IS 'Publishes dead letters again, with the same task ids; returns their number. At least one condition must be given.';

CREATE FUNCTION bridge.send(task text, args jsonb DEFAULT '[]'::jsonb, kwargs jsonb DEFAULT '{}'::jsonb, options jsonb DEFAULT '{}'::jsonb, stream text DEFAULT 'default'::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known constant text[] := '{queue,priority,countdown,expires,headers}';
    other text;
begin
    perform bridge._require_allowed(array[task]);
    if jsonb_typeof(args) is distinct from 'array' or jsonb_typeof(kwargs) is distinct from 'object' then
        raise exception 'task "%": args must be a JSON array and kwargs a JSON object', task
            using errcode = 'invalid_parameter_value';
    end if;
    perform bridge._check_options(format('task "%s"', task), options);
    select k into other from jsonb_object_keys(options) k where k <> all (known) limit 1;
    if other is not null then
        raise exception 'task "%": the option "%" is for watches; a task that is sent may have: %',
            task, other, array_to_string(known, ', ') using errcode = 'invalid_parameter_value';
    end if;
    return bridge._send(
        jsonb_build_object('task', task, 'args', args, 'kwargs', kwargs, 'options', options), stream
    );
end
$$;

COMMENT ON FUNCTION bridge.send(task text, args jsonb, kwargs jsonb, options jsonb, stream text) IS 'Starts an allowed task once the calling transaction has committed; returns the id of the event.';

CREATE FUNCTION bridge.send_task(task text, args text, kwargs text, message jsonb, tasks text[] DEFAULT '{}'::text[], stream text DEFAULT 'default'::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform bridge._require_allowed(
        case when task ~ '^celery[.]' then tasks else array_prepend(task, coalesce(tasks, '{}')) end
    );
    if task is null or args is null or kwargs is null or jsonb_typeof(message) is distinct from 'object' then
        raise exception 'task "%": args and kwargs must be JSON texts, and message a JSON object', task
            using errcode = 'invalid_parameter_value';
    end if;
    return bridge._send(
        jsonb_build_object('task', task, 'args', args, 'kwargs', kwargs, 'message', message), stream
    );
end
$$;

COMMENT ON FUNCTION bridge.send_task(task text, args text, kwargs text, message jsonb, tasks text[], stream text) IS 'Starts an allowed task, with a message that Celery has made, once the calling transaction has committed; returns the id of the event. For django_app, which lets Celery make the message.';

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
        -- A note of a relay that has ended no longer describes the present.
        case when o.pid is not null then p.broker_error end,
        case when o.pid is not null then p.broker_away_since end
    from bridge.position p
    join bridge.stream s on s.name = p.stream
    cross join bridge._holder(s.owner_key) o(pid)
    left join (
        select
            w.stream, count(*) as waiting, min(w.at) filter (where isfinite(w.at)) as oldest,
            count(*) filter (
                where w.watch in (select r.name from bridge.watch r where r.removed_at is not null)
            ) as of_removed
        from bridge.waiting w
        group by 1
    ) e on e.stream = p.stream
    order by 1
$$;

COMMENT ON FUNCTION bridge.status() IS 'One row per stream: its watches, committed events that wait, how many of those are of removed watches, age of the oldest one, dead letters, the backend of the relay that serves it, and why the broker refuses its messages.';

CREATE FUNCTION bridge.step_aside(relation regclass) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w bridge.watch;
begin
    if not exists (select from bridge._watches_of(relation)) then return false; end if;
    -- This is the lock of the change that follows. CREATE TRIGGER takes a weaker one, and a later upgrade to the
    -- stronger one would be a deadlock with a writer that had only read so far.
    execute format('lock table %s in access exclusive mode', relation);
    for w in select * from bridge._watches_of(relation) loop
        perform bridge._loosen(w);
    end loop;
    return true;
end
$$;

COMMENT ON FUNCTION bridge.step_aside(relation regclass) IS 'Before a change that PostgreSQL refuses because a trigger names a column: makes the watches of this table record every change and name no column. False if nothing watches the table.';

CREATE FUNCTION bridge.step_back(relation regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w bridge.watch;
begin
    for w in select * from bridge._watches_of(relation) loop
        begin
            continue when bridge._is_intact(w);
            perform bridge._install(bridge._follow(w));
        exception when others then
            raise notice 'watch "%" records every change of % until it is installed again: %',
                w.name, w.relation, sqlerrm;
            perform bridge._loosen(w);
        end;
    end loop;
end
$$;

COMMENT ON FUNCTION bridge.step_back(relation regclass) IS 'After a change of this table: its watches follow renamed columns, lose dropped ones, and again record only the changes that they select.';

CREATE FUNCTION bridge.unwatch(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- The tables are locked first, as in watch(): otherwise two sessions that change watches could wait for each other.
    perform bridge._lock_tables('{}', array[name]);
    update bridge.installation set generation = generation + 1;
    update bridge.watch w set removed_at = clock_timestamp() where w.name = unwatch.name and w.removed_at is null;
    if not found then return false; end if;
    perform bridge._drop_triggers(name, null, '{}');
    perform bridge._drop_functions(name);
    return true;
end
$$;

COMMENT ON FUNCTION bridge.unwatch(name text) IS 'Removes a watch and its triggers; events that it has recorded are still delivered. False: this watch did not exist.';

CREATE FUNCTION bridge.version() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select version from bridge.installation $$;

COMMENT ON FUNCTION bridge.version() IS 'The version of the installed triggers.sql.';

CREATE FUNCTION bridge.watch(name text, relation regclass, task text, operations text[] DEFAULT '{insert,update,delete}'::text[], columns text[] DEFAULT NULL::text[], condition text DEFAULT NULL::text, key text[] DEFAULT NULL::text[], data text[] DEFAULT NULL::text[], options jsonb DEFAULT '{}'::jsonb, stream text DEFAULT 'default'::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w constant bridge.watch :=
        bridge._watch(name, relation, task, operations, columns, condition, key, data, options, stream);
begin
    perform bridge._check_watch(w); -- LOCK TABLE has another error message for a view
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

ALTER TABLE ONLY bridge.dead_letter REPLICA IDENTITY FULL;

CREATE TABLE bridge.decision (
    id bigint NOT NULL,
    stream text NOT NULL COLLATE pg_catalog."C",
    watch text NOT NULL COLLATE pg_catalog."C",
    at timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    decision text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL,
    context text DEFAULT NULLIF(current_setting('bridge.context'::text, true), ''::text),
    decided_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT decision_decision_check CHECK ((decision = ANY (ARRAY['retried'::text, 'discarded'::text])))
);

ALTER TABLE ONLY bridge.decision REPLICA IDENTITY FULL;

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

CREATE SEQUENCE bridge.event_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE bridge.event_id OWNED BY bridge.event.id;

CREATE TABLE bridge.ring (
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
)
PARTITION BY LIST (slot);

ALTER TABLE ONLY bridge.ring REPLICA IDENTITY FULL;

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
    source text COLLATE pg_catalog."C",
    CONSTRAINT sendable_task_check CHECK ((task ~ '^\S+$'::text))
);

CREATE TABLE bridge.shadow_publish (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    task text NOT NULL,
    args jsonb NOT NULL,
    inside boolean NOT NULL,
    xid xid8,
    place text
);

ALTER TABLE bridge.shadow_publish ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME bridge.shadow_publish_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_0 FOR VALUES IN ('0');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_1 FOR VALUES IN ('1');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_2 FOR VALUES IN ('2');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_3 FOR VALUES IN ('3');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_4 FOR VALUES IN ('4');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_5 FOR VALUES IN ('5');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_6 FOR VALUES IN ('6');

ALTER TABLE ONLY bridge.ring ATTACH PARTITION bridge.event_7 FOR VALUES IN ('7');

ALTER TABLE ONLY bridge.event ATTACH PARTITION bridge.ring DEFAULT;

ALTER TABLE ONLY bridge.event ALTER COLUMN id SET DEFAULT nextval('bridge.event_id'::regclass);

ALTER TABLE ONLY bridge.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY bridge.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY bridge.sendable
    ADD CONSTRAINT sendable_pkey PRIMARY KEY (task);

ALTER TABLE ONLY bridge.shadow_publish
    ADD CONSTRAINT shadow_publish_pkey PRIMARY KEY (id);

ALTER TABLE ONLY bridge.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (name);

ALTER TABLE ONLY bridge.watch
    ADD CONSTRAINT watch_pkey PRIMARY KEY (name);

CREATE UNIQUE INDEX dead_letter_event ON bridge.dead_letter USING btree (id, at, stream, hashtextextended(watch, (0)::bigint));

CREATE INDEX decision_id ON bridge.decision USING btree (id);

CREATE INDEX event_lane_stream_xid ON ONLY bridge.event USING btree (lane, stream, xid);

CREATE INDEX ring_lane_stream_xid_idx ON ONLY bridge.ring USING btree (lane, stream, xid);

CREATE INDEX event_0_lane_stream_xid_idx ON bridge.event_0 USING btree (lane, stream, xid);

CREATE INDEX event_1_lane_stream_xid_idx ON bridge.event_1 USING btree (lane, stream, xid);

CREATE INDEX event_2_lane_stream_xid_idx ON bridge.event_2 USING btree (lane, stream, xid);

CREATE INDEX event_3_lane_stream_xid_idx ON bridge.event_3 USING btree (lane, stream, xid);

CREATE INDEX event_4_lane_stream_xid_idx ON bridge.event_4 USING btree (lane, stream, xid);

CREATE INDEX event_5_lane_stream_xid_idx ON bridge.event_5 USING btree (lane, stream, xid);

CREATE INDEX event_6_lane_stream_xid_idx ON bridge.event_6 USING btree (lane, stream, xid);

CREATE INDEX event_7_lane_stream_xid_idx ON bridge.event_7 USING btree (lane, stream, xid);

CREATE INDEX inbox_at ON bridge.inbox USING btree (at);

CREATE INDEX shadow_publish_at ON bridge.shadow_publish USING btree (at);

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_0_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_1_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_2_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_3_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_4_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_5_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_6_lane_stream_xid_idx;

ALTER INDEX bridge.ring_lane_stream_xid_idx ATTACH PARTITION bridge.event_7_lane_stream_xid_idx;

ALTER INDEX bridge.event_lane_stream_xid ATTACH PARTITION bridge.ring_lane_stream_xid_idx;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_0 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_0 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_1 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_1 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_2 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_2 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_3 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_3 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_4 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_4 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_5 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_5 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_6 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_6 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER loaded AFTER INSERT ON bridge.event_7 REFERENCING NEW TABLE AS loaded FOR EACH STATEMENT EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_7 ENABLE ALWAYS TRIGGER loaded;

CREATE TRIGGER one BEFORE INSERT ON bridge."position" FOR EACH ROW EXECUTE FUNCTION bridge._keep_position();

ALTER TABLE bridge."position" ENABLE ALWAYS TRIGGER one;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_0 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_0 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_1 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_1 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_2 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_2 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_3 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_3 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_4 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_4 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_5 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_5 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_6 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_6 ENABLE REPLICA TRIGGER replicated;

CREATE TRIGGER replicated AFTER INSERT ON bridge.event_7 FOR EACH ROW EXECUTE FUNCTION bridge._bury_loaded();

ALTER TABLE bridge.event_7 ENABLE REPLICA TRIGGER replicated;

ALTER TABLE ONLY bridge."position"
    ADD CONSTRAINT position_stream_fkey FOREIGN KEY (stream) REFERENCES bridge.stream(name);

ALTER TABLE ONLY bridge.watch
    ADD CONSTRAINT watch_stream_fkey FOREIGN KEY (stream) REFERENCES bridge.stream(name);

REVOKE ALL ON FUNCTION bridge._add_stream(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._apply(wanted jsonb, relations regclass[], prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._asks_inside(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._base_type(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._bury_loaded() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._bury_written(lanes smallint[], streams text[], xids xid8[], ids bigint[], own bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._capture_branch_sql(w bridge.watch, op text, remembered jsonb, fits text, may_fail boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._capture_ddl(w bridge.watch, portable boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._carries_data(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._changed_sql(relation regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_columns(watch_name text, parameter text, names text[], relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_condition(watch_name text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_condition_columns(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_generated(w bridge.watch, names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_inside(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_options(what text, options jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._check_watch(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._chosen_letters(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._cluster() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._column_name(relation oid, number integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns_in_condition(w bridge.watch, by_name boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns_in_when(w bridge.watch, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._columns_now(relation oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._compared(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._compares_exactly(a pg_attribute) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._condition_inside_sql(condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._condition_sql(w bridge.watch, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._data_sql(w bridge.watch, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._definition(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._differs_sql(relation regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._drop_functions(watch_name text, kept regprocedure) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._drop_triggers(watch_name text, kept_relation regclass, kept text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._fingerprint(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._fits(place text, relation regclass, columns jsonb, last integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._fits_sql(w bridge.watch, portable boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._follow(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._followed(names text[], now_ jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._generated(watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._holder(key bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._install(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._install_function(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_as_seen(composite oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_builtin(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_foreign(cluster bigint, seen pg_snapshot, upto pg_snapshot, written_by xid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_intact(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_safe(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._is_wide(watch text, op text, key jsonb, data jsonb, context text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._json(value anyelement) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._json_array_sql(items text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._json_object_sql(pairs text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._keep_position() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._kept_data_sql(w bridge.watch, data text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._key(relation regclass, key text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._key_sql(w bridge.watch, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._lists_all(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._lock(relations regclass[], modes text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._lock_for_alter(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._lock_tables(installed bridge.watch[], removed text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._locks(installed bridge.watch[], removed text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._loosen(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._may_fail(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._mentioned(statement text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._mentions(statement text, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._missing(item jsonb, relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._named(condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._names_columns(relation regclass, trigger_name name, columns text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._needs_pinned_settings(relation regclass, names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._note_move() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._operations(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._partition_columns(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._parts(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._place() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._plan(wanted jsonb, relations regclass[], prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._present() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._quoted_sql(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._read(row_ anyelement, name text, OUT value jsonb, OUT problem text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._readable(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._reading_sql(w bridge.watch, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._refusing(complaint text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._relations(wanted jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._remember(w bridge.watch) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._require_allowed(tasks text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._require_read_committed(what text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._send(data jsonb, stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._slowly(remembered jsonb, op text, relation regclass, old_row anyelement, new_row anyelement, OUT key jsonb, OUT data jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._texts(list jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._token_sql(token text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._tokens(condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._torn() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._trigger_ddl(w bridge.watch, op text, loose boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._trigger_name(op text, watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._triggers(watch_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._triggers_ddl(w bridge.watch, loose boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._value_sql(type oid, value text, is_part boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._waits_in_foreign_log(id bigint, xid xid8, at timestamp with time zone, seen pg_snapshot, upto pg_snapshot, after_id bigint, largest_id bigint, moved_at timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._wanted(item jsonb, relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge._watches_of(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.adopt(stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.allow(task text, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.allow_only(tasks text[], source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.alter(relation regclass, clauses text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.apply(wanted jsonb, prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.await_lock(key bigint, at_most interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.bury(stream text, ids bigint[], ats timestamp with time zone[], xids xid8[], reasons text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.disallow(task text, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.discard(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.disk_use() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.drift() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.fate(stream text, watch text, id bigint, at timestamp with time zone, xid xid8) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.forget(older_than interval, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.note_publishes(publishes jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.once(id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.plan(wanted jsonb, prune boolean, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.recycle(retention interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.refresh() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.restless_keys(at_least bigint, within interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.retry(ids bigint[], watch text, stream text, since timestamp with time zone, until timestamp with time zone, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.send(task text, args jsonb, kwargs jsonb, options jsonb, stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.send_task(task text, args text, kwargs text, message jsonb, tasks text[], stream text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.set_aside() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.status() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.step_aside(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.step_back(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.unwatch(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.version() FROM PUBLIC;

REVOKE ALL ON FUNCTION bridge.watch(name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[], options jsonb, stream text) FROM PUBLIC;
