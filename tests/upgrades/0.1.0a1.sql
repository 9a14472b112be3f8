-- Commit Bridge: all SQL that runs in the application's transactions.
--
-- Apply it with `psql -f triggers.sql`, `bridge install` or Django's `migrate`: it is the same file. It is idempotent:
-- applying it twice changes nothing, applying a newer one upgrades in place with events pending, and
-- `drop schema bridge cascade` removes all of it. PostgreSQL 14 or newer; no extension, no superuser.
--
--     select bridge.watch('reprice', 'shop.product', 'shop.tasks.reprice', operations => '{update}', columns => '{price}');
--
-- What is where:   1 tables   2 checks on a watch   3 generated capture   4 watch and unwatch
--                  5 send   6 plan and apply   7 the log's ring   8 dead letters   9 inbox   10 status
--                  11 rights, and upgrade of what is installed
--
-- Names that start with an underscore are private. There is no BEGIN and no COMMIT here, since a migration tool brings
-- its own transaction; with psql, `--single-transaction` makes it all or nothing.

do $check$
declare
    installed text;
begin
    if current_setting('server_version_num')::integer < 140000 then
        raise exception 'Commit Bridge needs PostgreSQL 14 or newer, this server is %', current_setting('server_version');
    end if;
    -- An older file would put older capture under a newer bridge.
    if to_regclass('bridge.installation') is not null then
        execute 'select version from bridge.installation' into installed;
        if installed ~ '^[0-9.]+$' and string_to_array(installed, '.')::integer[] > string_to_array('0.1.0', '.')::integer[] then
            raise exception 'Commit Bridge % is installed here, and this file is 0.1.0: upgrade the package that applies it', installed;
        end if;
    end if;
    -- Two installers at once (two web containers that migrate) would collide in the catalogs: one after the other.
    perform pg_advisory_xact_lock(4778957226326884351);
end
$check$;

create schema if not exists bridge;
comment on schema bridge is 'Commit Bridge: committed rows start Celery tasks';


-- 1 --- Tables -------------------------------------------------------------------------------------------------------

-- One row: the version of this file, and a number that grows with every change of a watch, so that a relay sees with one
-- cheap read that its copy of the watches is old. Its row lock also makes concurrent changes of watches take turns.
create table if not exists bridge.installation (
    singleton boolean primary key default true check (singleton),
    version text not null,
    generation bigint not null default 1
);

-- Which cluster this is. A dump restored elsewhere brings positions whose transaction ids mean nothing there.
create or replace function bridge._cluster() returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select system_identifier from pg_control_system() $$;


-- The independent parts of the log. The keys are advisory locks: 'BRDG' in the upper half keeps them apart from an
-- application's own.
create table if not exists bridge.stream (
    name text collate "C" primary key check (name ~ '^[a-z_][a-z0-9_]{0,39}$'),
    number integer not null generated always as identity,
    -- held exclusively while the stream's relay sleeps: "please notify"
    sleep_key bigint not null generated always as (4778957226326884352 + number * 2) stored,
    -- held exclusively by the session of the stream's one active relay
    owner_key bigint not null generated always as (4778957226326884353 + number * 2) stored
);

-- How far each stream has been delivered: a snapshot, not an id, since ids are not commit order. Everything visible in
-- `seen` is delivered. While a window too large for one batch is walked, `upto` is where it ends and `after_id` how far
-- the walk has come.
-- One row a stream, and no index on purpose: while a long transaction anywhere keeps the old versions of a row alive, a
-- unique index would look at all of them each time that the row moves to another page. The relay goes by ctid.
create table if not exists bridge.position (
    stream text collate "C" not null references bridge.stream (name),
    seen pg_snapshot not null default pg_current_snapshot(),
    upto pg_snapshot,
    after_id bigint,
    largest_id bigint not null default 0, -- of the delivered events
    cluster bigint not null default bridge._cluster(),
    moved_at timestamptz not null default clock_timestamp(),
    broker_error text, -- why the broker takes nothing at present, as the relay was told
    broker_away_since timestamptz,
    check ((broker_error is null) = (broker_away_since is null)),
    check ((upto is null) = (after_id is null))
) with (fillfactor = 50);


create or replace function bridge._add_stream(name text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    with added as (insert into bridge.stream (name) values (name) on conflict do nothing returning name)
    insert into bridge.position (stream) select a.name from added a
$$;


-- One rule: when these operations touch these columns of this table, call this task. A removed watch keeps its row, so
-- that the events it had recorded can still be delivered.
create table if not exists bridge.watch (
    name text collate "C" primary key,
    relation regclass not null,
    task text not null,
    operations text[] not null,
    columns text[],
    condition text,
    key text[],
    data text[],
    options jsonb not null,
    stream text collate "C" not null references bridge.stream (name),
    fingerprint text not null, -- of the generated functions and triggers: tells when they no longer fit the table
    changed_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz
);

-- CACHE must stay 1: events of one key are published by id, and a session that holds a block of ids would put a later
-- change of a row before an earlier one.
create sequence if not exists bridge.event_id cache 1;

-- The event log: append-only, never updated, never deleted row by row. A ring of eight partitions of four hours each;
-- retention truncates the oldest one when it is delivered.
create table if not exists bridge.event (
    id bigint not null default nextval('bridge.event_id'),
    xid xid8 not null default pg_current_xact_id(),
    stream text collate "C" not null,
    watch text collate "C" not null,
    op text collate "C" not null,
    key jsonb, -- the key's values in order; null for a truncate
    data jsonb, -- {"old": {...}, "new": {...}, "changed": [...], "old_key": [...]}, each only where it says something
    -- The setting bridge.context as it was; not cast, since a cast could fail in the writer.
    context text default nullif(current_setting('bridge.context', true), ''),
    at timestamptz not null default clock_timestamp(),
    slot smallint not null default (extract(epoch from transaction_timestamp())::bigint / 14400 % 8),
    -- Spreads the writers over eight ends of the index, where they would queue up at one.
    lane smallint not null default (pg_backend_pid() & 7)
) partition by list (slot);

do $ring$
begin
    for slot in 0..7 loop
        execute format('create table if not exists bridge.event_%s partition of bridge.event for values in (%s)', slot, slot);
    end loop;
end
$ring$;

-- The one index: windows are ranges of xid within a stream, in each lane. A second one (on id) would cost every writer.
-- Asked for first, since IF NOT EXISTS takes the lock before it looks, and writers would wait for it during every upgrade.
do $index$
begin
    if to_regclass('bridge.event_lane_stream_xid') is null then
        create index event_lane_stream_xid on bridge.event (lane, stream, xid);
        alter sequence bridge.event_id owned by bridge.event.id;
    end if;
end
$index$;

-- An event that can't be published as it is, with the reason; it waits for a person.
create table if not exists bridge.dead_letter (
    id bigint primary key,
    stream text collate "C" not null,
    watch text collate "C" not null,
    op text collate "C" not null,
    key jsonb,
    data jsonb,
    context text,
    at timestamptz not null,
    reason text not null,
    failed_at timestamptz not null default clock_timestamp()
);


create or replace function bridge.version() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select version from bridge.installation $$;
comment on function bridge.version() is 'Version of the triggers.sql that is installed.';


-- 2 --- Checks on a watch: every wrong input is one clear error, before anything changes ---------------------------------

create or replace function bridge._columns(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(attname::text order by attnum), '{}')
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;
comment on function bridge._columns(regclass) is 'Names of the columns of a table, in order.';


create or replace function bridge._key(relation regclass, key text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge._key(regclass, text[]) is 'Key columns of a watch: those it names, else the primary key; null without either.';


create or replace function bridge._check_columns(watch_name text, parameter text, names text[], relation regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._check_condition(watch_name text, condition text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


create or replace function bridge._check_options(what text, options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
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


-- The columns that triggers can read. From a virtual generated column they get a wrong NULL; so they do from a stored one
-- before the update, which is when a row that moves between partitions is captured.
create or replace function bridge._readable(w bridge.watch) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
        and (a.attgenerated = '' or a.attgenerated = 's' and (c.relkind <> 'p' or 'update' <> all (w.operations)))
$$;


create or replace function bridge._check_generated(w bridge.watch, names text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unreadable constant text := (select n from unnest(names) n where n <> all (bridge._readable(w)) limit 1);
begin
    if unreadable is not null then
        raise exception 'watch "%": triggers can''t read the generated column "%" (it is virtual, or its table is partitioned)',
            w.name, unreadable using errcode = 'invalid_parameter_value', hint = 'Name the columns that it is made of.';
    end if;
end
$$;


create or replace function bridge._check_watch(w bridge.watch) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- 3 --- Generated capture: one trigger function per watch, static SQL inside --------------------------------------------

-- The type under a domain, or under a domain over a domain.
create or replace function bridge._base_type(type oid) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive under (oid) as (
        select type
        union all
        select t.typbasetype from under u join pg_type t on t.oid = u.oid where t.typbasetype <> 0
    )
    select u.oid from under u join pg_type t on t.oid = u.oid where t.typbasetype = 0
$$;


-- Whether json (not jsonb) is in a type: itself, under a domain, in an array, in a composite.
create or replace function bridge._holds_json(type oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- json takes what jsonb refuses (\u0000, half a surrogate pair, 1e200000): such a value is recorded as its text.
create or replace function bridge._json(value anyelement) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return to_jsonb(value);
exception when data_exception or program_limit_exceeded then
    return to_jsonb(value::text);
end
$$;


-- What a column looks like in JSON. numeric goes as text, since most JSON readers would make it a float and lose digits;
-- bytea as hex whatever bytea_output says.
create or replace function bridge._value(relation regclass, name text, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when bridge._base_type(a.atttypid) = 'numeric'::regtype then format('(%s).%I::text', row_name, name)
        when bridge._base_type(a.atttypid) = 'bytea'::regtype then format('''\x'' || encode((%s).%I, ''hex'')', row_name, name)
        when bridge._holds_json(a.atttypid) then format('bridge._json((%s).%I)', row_name, name)
        else format('(%s).%I', row_name, name)
    end
    from pg_attribute a
    where a.attrelid = relation and a.attname = name
$$;


-- "This column changed." IS DISTINCT FROM for the types where it is quick and says it all; else the comparison of the
-- stored bytes (record_image_ne, the operator *<>), which knows every type (json has no equality, and asking for it would fail in the writer) and
-- sees what equality hides (1.0 and 1.00, 'a' and 'A' of citext).
create or replace function bridge._changed(relation regclass, name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when a.atttypid = any ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[])
            or a.atttypid = any ('{text,varchar,name}'::regtype[]) and coalesce(c.collisdeterministic, true)
        then format('old.%1$I is distinct from new.%1$I', name)
        else format('pg_catalog.record_image_ne(row(old.%1$I), row(new.%1$I))', name)
    end
    from pg_attribute a
    left join pg_collation c on c.oid = a.attcollation
    where a.attrelid = relation and a.attname = name
$$;


-- Types whose JSON form depends on no setting of the session. For others the capture function pins the settings.
create or replace function bridge._needs_pinned_settings(relation regclass, names text[]) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(bool_or(
        a.atttypid <> all ('{bool,int2,int4,int8,oid,uuid,date,timestamp,text,varchar,bpchar,numeric,bytea,json,jsonb}'::regtype[])
    ), false)
    from pg_attribute a
    where a.attrelid = relation and a.attname = any (names)
$$;


-- The generated functions over a row. They have SQL-standard bodies (BEGIN ATOMIC), which PostgreSQL stores parsed: a
-- renamed column goes on working, and dropping or retyping one is refused with the function's name in the message,
-- instead of failing later inside a writer. The planner inlines them.
create or replace function bridge._row_function(name text, arguments text, result text, body text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('create or replace function bridge.%I(%s) returns %s language sql stable begin atomic select %s; end', name, arguments, result, body)
$$;


create or replace function bridge._object(relation regclass, names text[], row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', n, bridge._value(relation, n, row_name)), ', '))
    from unnest(names) n
$$;


-- The generated functions over rows of a watch: signature and statement. They are replaced and not dropped: a condition
-- in a trigger may depend on them, and a running capture function finds them by name.
create or replace function bridge._functions(w bridge.watch) returns table (signature text, statement text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


create or replace function bridge._carries_data(w bridge.watch) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select w.data is not null or w.options ->> 'call' is not distinct from 'event' $$;


-- The body for one operation: the event is written with a plain INSERT (no cast that can fail, no lock on a shared row,
-- no upsert), then somebody who sleeps is woken. Armed sleep: the relay holds sleep_key exclusively while it sleeps. Who
-- gets it shared keeps it until the commit is visible, and the relay looks once more after its own lock is granted; who
-- does not get it notifies. So NOTIFY, which takes a lock for the whole server, is paid only when somebody sleeps.
create or replace function bridge._capture_branch(w bridge.watch, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


create or replace function bridge._capture_function(w bridge.watch) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


create or replace function bridge._guards_inside(w bridge.watch) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    -- With on_error "warn" also a condition that raises an error must not fail the write, as it would in the trigger's WHEN.
    select w.condition is not null and (not w.operations <@ '{update,truncate}' or w.options ->> 'on_error' is not distinct from 'warn')
$$;


-- The columns that a condition names: its function depends on them.
create or replace function bridge._columns_of_condition(w bridge.watch) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(distinct a.attname::text)
    from pg_proc p
    join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where p.pronamespace = 'bridge'::regnamespace and p.proname = ('when_' || w.name)::name and d.refobjid = w.relation
$$;


-- The operations of a watch, and 'move' where rows can move between partitions: PostgreSQL tells such an update to row
-- triggers as a delete here and an insert there, and a watch on updates would miss it.
create or replace function bridge._operations(w bridge.watch) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when 'update' = any (w.operations) and exists (select from pg_class where oid = w.relation and relkind = 'p')
        then w.operations || 'move'::text
        else w.operations
    end
$$;


create or replace function bridge._trigger_name(op text, watch_name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    -- A BEFORE trigger comes late in the alphabet, since earlier ones may still change the row.
    select case op when 'move' then 'zzz_bridge_move_' else format('bridge_%s_', op) end || watch_name
$$;


-- Columns that decide about a row's partition, on every level; all columns where an expression does.
create or replace function bridge._partition_columns(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when bool_or(k.attnum = 0) then bridge._columns(relation) else array_agg(distinct a.attname::text) end
    from pg_partition_tree(relation) t
    join pg_partitioned_table p on p.partrelid = t.relid
    cross join unnest(p.partattrs::smallint[]) as k (attnum)
    left join pg_attribute a on a.attrelid = p.partrelid and a.attnum = k.attnum
$$;


-- Whether the new version of a row no longer belongs to the partition that it is in.
create or replace function bridge._moves(partition oid, new anyelement) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    stays boolean;
begin
    -- A default partition without any other one has no constraint.
    execute format('select %s from (select ($1).*) as r', coalesce(pg_get_partition_constraintdef(partition), 'true')) into stays using new;
    return stays is not true;
end
$$;


create or replace function bridge._trigger(w bridge.watch, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- All statements that make a watch, in order. Their hash is the watch's fingerprint: it differs when the table's columns
-- or a newer triggers.sql ask for other ones.
create or replace function bridge._statements(w bridge.watch) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._fingerprint(w bridge.watch) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select md5(array_to_string(bridge._statements(w) || bridge._columns_of_condition(w), E'\n')) $$;


-- Triggers of a watch as they stand: the operation ("renamed" where the name tells none) and whether it is switched on, as
-- the watch wants it and on every partition.
create or replace function bridge._triggers(watch_name text) returns table (relation regclass, trigger_name name, op text, enabled boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- The generated functions of a watch, in an order in which they can be dropped.
create or replace function bridge._generated(watch_name text) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select p.oid::regprocedure
    from unnest('{uses,key,data,rekeyed,changed,when,capture}'::text[]) with ordinality as f (prefix, place)
    join pg_proc p on p.pronamespace = 'bridge'::regnamespace and p.proname = (f.prefix || '_' || watch_name)::name
    order by f.place
$$;


create or replace function bridge._is_intact(w bridge.watch) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- 4 --- watch and unwatch -------------------------------------------------------------------------------------------------

-- Which locks it takes to install watches and to remove others: the one of CREATE TRIGGER, or, where a trigger goes, the
-- stronger one of DROP TRIGGER.
create or replace function bridge._locks(installed bridge.watch[], removed text[]) returns table (relation regclass, mode text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Takes all those locks, and never waits for one while it holds another: a writer that wants the same tables in another
-- order would end in a deadlock, and PostgreSQL could choose the writer to fail. Whoever waits makes later writers wait
-- too, so without a lock_timeout of the caller's it is three seconds.
create or replace function bridge._lock_tables(installed bridge.watch[], removed text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- DROP TRIGGER takes a stronger lock than CREATE OR REPLACE TRIGGER, so a replaced watch keeps its triggers.
create or replace function bridge._drop_triggers(watch_name text, kept_relation regclass, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._drop_functions(watch_name text, kept text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- The caller holds the table's lock (_lock_tables): no writer may run between the old functions and the new.
create or replace function bridge._install(w bridge.watch) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._watch(
    name text, relation regclass, task text, operations text[], columns text[], condition text, key text[], data text[],
    options jsonb, stream text
) returns bridge.watch
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select (
        name, relation, task, coalesce(array(select distinct o from unnest(operations) o order by o), '{}'),
        columns, nullif(btrim(condition), ''), key, data, coalesce(options, '{}'), coalesce(stream, 'default'),
        '', clock_timestamp(), null
    )::bridge.watch
$$;


create or replace function bridge.watch(
    name text,
    relation regclass,
    task text,
    operations text[] default '{insert,update,delete}',
    columns text[] default null,
    condition text default null,
    key text[] default null,
    data text[] default null,
    options jsonb default '{}',
    stream text default 'default'
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    w constant bridge.watch := bridge._watch(name, relation, task, operations, columns, condition, key, data, options, stream);
begin
    perform bridge._check_watch(w); -- LOCK TABLE would complain of a view in words of its own
    perform bridge._lock_tables(array[w], '{}');
    perform bridge._install(w);
end
$$;
comment on function bridge.watch(text, regclass, text, text[], text[], text, text[], text[], jsonb, text) is
'When these operations touch these columns of this table, call this task. Creates the rule and its triggers, or replaces them.';


create or replace function bridge.unwatch(name text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update bridge.installation set generation = generation + 1;
    update bridge.watch w set removed_at = clock_timestamp() where w.name = unwatch.name and w.removed_at is null;
    if not found then return false; end if;
    perform bridge._lock_tables('{}', array[name]);
    perform bridge._drop_triggers(name, null, '{}');
    perform bridge._drop_functions(name, '{}');
    return true;
end
$$;
comment on function bridge.unwatch(text) is
'Removes a watch and its triggers; events that it has recorded are still delivered. False: there was no such watch.';


-- 5 --- send: any allowed task, as part of the caller's transaction -------------------------------------------------------

-- Names of the tasks that `send` may start. Only the owner of the schema writes here, through allow() and disallow().
create table if not exists bridge.sendable (task text collate "C" primary key check (task ~ '^\S+$'));


create or replace function bridge.allow(task text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update bridge.installation set generation = generation + 1;
    insert into bridge.sendable values (task) on conflict do nothing;
end
$$;
comment on function bridge.allow(text) is 'Lets send() start this task.';


create or replace function bridge.disallow(task text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update bridge.installation set generation = generation + 1;
    delete from bridge.sendable s where s.task = disallow.task;
    return found;
end
$$;
comment on function bridge.disallow(text) is 'No longer lets send() start this task; what was sent and still waits becomes a dead letter.';


create or replace function bridge.send(
    task text, args jsonb default '[]', kwargs jsonb default '{}', options jsonb default '{}', stream text default 'default'
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.send(text, jsonb, jsonb, jsonb, text) is
'Starts an allowed task once the calling transaction has committed; returns the id of the event.';


-- 6 --- plan and apply: many watches at once, as data ----------------------------------------------------------------------

create or replace function bridge._wanted(item jsonb) returns bridge.watch
language plpgsql stable
as $$
declare
    known constant text[] := '{name,relation,task,operations,columns,condition,key,data,options,stream}';
    unknown text;
    w bridge.watch;
begin
    -- No fixed search_path: a table's name means here what it means to the caller.
    select k into unknown from jsonb_object_keys(item) k where k <> all (known) limit 1;
    if unknown is not null then
        raise exception 'watch "%": unknown parameter "%"; there are: %', item ->> 'name', unknown, array_to_string(known, ', ')
            using errcode = 'invalid_parameter_value';
    end if;
    if to_regclass(item ->> 'relation') is null then
        raise exception 'watch "%": there is no table %', item ->> 'name', coalesce(item ->> 'relation', '(none is named)')
            using errcode = 'undefined_table', hint = 'Quote a name with capitals or spaces as SQL does: "Odd Name", or "My Schema"."Odd Name".';
    end if;
    w := bridge._watch(
        item ->> 'name', to_regclass(item ->> 'relation'), item ->> 'task',
        coalesce(bridge._texts(item -> 'operations'), '{insert,update,delete}'), bridge._texts(item -> 'columns'),
        item ->> 'condition', bridge._texts(item -> 'key'), bridge._texts(item -> 'data'), item -> 'options', item ->> 'stream'
    );
    perform bridge._check_watch(w);
    return w;
end
$$;


create or replace function bridge._texts(list jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case jsonb_typeof(list) when 'array' then array(select jsonb_array_elements_text(list)) end $$;


create or replace function bridge._definition(w bridge.watch) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_strip_nulls(to_jsonb(w) - '{fingerprint,changed_at,removed_at}'::text[])
$$;


create or replace function bridge.plan(wanted jsonb, prune boolean default false, source text default null)
returns table (action text, name text, before jsonb, after jsonb)
language plpgsql stable
as $$
#variable_conflict use_column
declare
    twice text;
begin
    select w ->> 'name' into twice from jsonb_array_elements(wanted) w group by 1 having count(*) > 1 limit 1;
    if twice is not null then
        raise exception 'watch "%" is declared twice; give each watch its own name', twice using errcode = 'invalid_parameter_value';
    end if;
    return query
        with target as (
            select w.name, w as row_, bridge._definition(w) as definition
            from jsonb_array_elements(wanted) item
            cross join lateral bridge._wanted(item) w
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
        -- Who prunes removes only what it declared itself: Django's watches and those of a bridge.toml live side by side.
        where t.name is not null or prune and p.definition -> 'options' ->> 'source' is not distinct from plan.source
        order by 2;
end
$$;
comment on function bridge.plan(jsonb, boolean, text) is
'What apply() would do: one row a watch, action create, replace, repair (triggers missing, switched off or outdated), keep, or, with prune, remove.';


create or replace function bridge.apply(wanted jsonb, prune boolean default false, source text default null)
returns table (action text, name text, before jsonb, after jsonb)
language plpgsql
as $$
#variable_conflict use_column
declare
    step record;
    installed bridge.watch[];
    removed text[];
begin
    select
        coalesce(array_agg(bridge._wanted(item)) filter (where p.action not in ('keep', 'remove')), '{}'),
        coalesce(array_agg(p.name) filter (where p.action = 'remove'), '{}')
    into installed, removed
    from bridge.plan(wanted, prune, source) p
    left join jsonb_array_elements(wanted) item on item ->> 'name' = p.name;
    perform bridge._lock_tables(installed, removed);
    for step in select * from bridge.plan(wanted, prune, source) loop
        if step.action = 'remove' then
            perform bridge.unwatch(step.name);
        elsif step.action <> 'keep' then
            perform bridge._install(bridge._wanted(item)) from jsonb_array_elements(wanted) item where item ->> 'name' = step.name;
        end if;
        action := step.action; name := step.name; before := step.before; after := step.after;
        return next;
    end loop;
end
$$;
comment on function bridge.apply(jsonb, boolean, text) is
'Brings the watches in line with a JSON array of objects whose keys are the parameters of watch(); returns what plan() said.';


create or replace function bridge.drift() returns table (name text, relation text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.name, w.relation::text
    from bridge.watch w
    where w.removed_at is null
        and not case when exists (select from pg_class c where c.oid = w.relation) then bridge._is_intact(w) else false end
    order by 1
$$;
comment on function bridge.drift() is
'Watches whose triggers are missing, switched off or outdated, or whose table is gone; apply() mends them.';


-- 7 --- The log's ring ------------------------------------------------------------------------------------------------------

-- Truncates each slot whose events are all older than `retention` and all delivered; returns those slots. A slot takes
-- the transactions that began in its four hours, so its age follows from the clock and no row is read. A stream has
-- delivered it when all of it is visible in the stream's position. The lock comes before that look: nobody can write
-- into the slot between the look and the truncate, and whoever has written but not committed still keeps it.
create or replace function bridge.recycle(retention interval) returns smallint[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
declare
    period constant bigint := extract(epoch from clock_timestamp())::bigint / 14400;
    done smallint[] := '{}';
    filled boolean;
    waiting boolean;
begin
    if retention < interval '0' or retention > interval '24 hours' then
        raise exception 'the log keeps events for up to 24 hours, not for %', retention using errcode = 'invalid_parameter_value';
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


-- A position from another cluster starts anew: all that it still waited for has just been delivered, and `seen` is a
-- snapshot of this cluster. Events whose transaction ids lie in the future here would look new for ever; they go.
create or replace function bridge.adopt(stream text, seen pg_snapshot, largest_id bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from bridge.event e where e.stream = adopt.stream and e.xid >= pg_snapshot_xmax(adopt.seen)
        and e.id <= adopt.largest_id;
    update bridge.position p
    set seen = adopt.seen, upto = null, after_id = null, largest_id = adopt.largest_id, cluster = bridge._cluster(),
        moved_at = clock_timestamp()
    where p.stream = adopt.stream;
end
$$;


-- 8 --- Dead letters ---------------------------------------------------------------------------------------------------------

-- The dead letters that a person means: all given conditions hold; none given is an error, since "all" should be said
-- (since => '-infinity'). The oldest first, at most so many of them, and not those that somebody else is at.
create or replace function bridge._chosen(
    ids bigint[], watch text, stream text, since timestamptz, until timestamptz, at_most integer
) returns setof bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- Puts the events back into the log as they were, with their ids, so that their tasks keep theirs. They get the xid of
-- this transaction, which puts them into the next window.
create or replace function bridge.retry(
    ids bigint[] default null, watch text default null, stream text default null,
    since timestamptz default null, until timestamptz default null, at_most integer default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    chosen constant bigint[] := array(select bridge._chosen(ids, watch, stream, since, until, at_most));
    p record;
begin
    for p in
        select x.stream, x.cluster, s.sleep_key
        from bridge.position x
        join bridge.stream s on s.name = x.stream
        where x.stream in (select d.stream from bridge.dead_letter d where d.id = any (chosen))
    loop
        -- Until then, what is old here is told by its id.
        if p.cluster <> bridge._cluster() then
            raise exception 'stream "%" was restored from another cluster and not served since: start the bridge first', p.stream
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
comment on function bridge.retry(bigint[], text, text, timestamptz, timestamptz, integer) is
'Publishes dead letters again, with the same task ids; returns their number. At least one condition must be given.';


create or replace function bridge.discard(
    ids bigint[] default null, watch text default null, stream text default null,
    since timestamptz default null, until timestamptz default null, at_most integer default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    chosen constant bigint[] := array(select bridge._chosen(ids, watch, stream, since, until, at_most));
begin
    delete from bridge.dead_letter d where d.id = any (chosen);
    return cardinality(chosen);
end
$$;
comment on function bridge.discard(bigint[], text, text, timestamptz, timestamptz, integer) is
'Deletes dead letters for good; returns their number. At least one condition must be given.';


-- 9 --- Inbox: what a task has done, for effects that happen once ----------------------------------------------------------------

create table if not exists bridge.inbox (
    id uuid primary key, -- of the task
    at timestamptz not null default clock_timestamp()
);
do $inbox$
begin
    if to_regclass('bridge.inbox_at') is null then
        create index inbox_at on bridge.inbox (at);
    end if;
end
$inbox$;


-- In the transaction of the task's own writes: true the first time, false when the task's work is committed already. Two
-- deliveries at once take turns: the second waits here for the first one's end.
create or replace function bridge.once(id uuid) returns boolean
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with noted as (insert into bridge.inbox (id) values (once.id) on conflict do nothing returning true)
    select exists (select from noted)
$$;
comment on function bridge.once(uuid) is
'Notes a task''s id in the calling transaction: true the first time, false when it is there already.';


create or replace function bridge.forget(older_than interval, at_most integer default 10000) returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with old as (
        delete from bridge.inbox
        where id = any (array(
            select i.id from bridge.inbox i where i.at < clock_timestamp() - older_than order by i.at limit at_most
        ))
        returning true
    )
    select count(*) from old
$$;
comment on function bridge.forget(interval, integer) is 'Deletes old entries of the inbox, at most so many; returns their number.';


-- 10 --- Status ---------------------------------------------------------------------------------------------------------------

-- Events that are committed and not delivered yet. The three conditions are the window between the position and now;
-- the last one is the part of a large window that has been walked already.
create or replace view bridge.waiting as
select e.*
from bridge.position p
join bridge.event e
    on e.stream = p.stream
    and e.lane = any ('{0,1,2,3,4,5,6,7}')
    and (e.xid >= pg_snapshot_xmax(p.seen) or e.xid = any (array(select pg_snapshot_xip(p.seen))))
    and (p.upto is null or e.id > p.after_id or not pg_visible_in_snapshot(e.xid, p.upto));
comment on view bridge.waiting is 'Events that are committed and not delivered yet.';


-- Waits for a session lock, but not for ever: a statement that waits has a snapshot, and with it holds back the horizon
-- behind which VACUUM may remove dead rows, in the whole database. A standby waits for weeks, a piece at a time. An
-- exception that is caught here writes nothing into the server's log, as one that reaches the client would.
create or replace function bridge.await_lock(key bigint, at_most interval) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('lock_timeout', (extract(epoch from at_most) * 1000)::bigint || 'ms', true);
    perform pg_advisory_lock(key);
    return true;
exception when lock_not_available then
    return false;
end
$$;
comment on function bridge.await_lock(bigint, interval) is
'Whether this session got the advisory lock within so long. For bridge run only.';


-- Whether some session holds, or waits for, the advisory lock with this key.
create or replace function bridge._holder(key bigint) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pid
    from pg_locks
    where locktype = 'advisory' and granted and mode = 'ExclusiveLock' and objsubid = 1
        and database = (select oid from pg_database where datname = current_database())
        and classid = (key >> 32)::oid and objid = (key & 4294967295)::oid
    limit 1
$$;


create or replace function bridge.status() returns table (
    stream text, watches bigint, waiting bigint, of_removed bigint, lag interval, dead_letters bigint, owner_pid integer, asleep boolean,
    moved_at timestamptz, broker_error text, broker_away_since timestamptz
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.status() is
'One row a stream: its watches, committed events that wait, those of removed watches among them, age of the oldest one, dead letters, the backend of the relay that serves it, and why the broker takes nothing from it.';


create or replace function bridge.disk_use() returns table (part text, bytes bigint)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select p.part, sum(pg_total_relation_size(c.oid))::bigint
    from pg_class c
    cross join lateral (select case when c.relname ~ '^event_\d$' then 'log' else c.relname::text end) as p (part)
    where c.relnamespace = 'bridge'::regnamespace and c.relkind = 'r' and p.part in ('log', 'dead_letter', 'inbox')
    group by 1
    order by 1
$$;
comment on function bridge.disk_use() is 'Bytes on disk of the log, the dead letters and the inbox, with their indexes.';


-- 11 --- Rights, and upgrade of what is installed ------------------------------------------------------------------------------------------

-- PostgreSQL lets everybody execute a new function. Here nobody may but the owner, until a role is granted it.
revoke all on all functions in schema bridge from public;

-- Watches made by an older triggers.sql get the capture of this one; a watch whose table does not fit it any more is
-- left alone, and plan() shows it.
do $upgrade$
declare
    w bridge.watch;
    outdated bridge.watch[];
begin
    perform bridge._add_stream('default');
    insert into bridge.installation (version) values ('0.1.0')
        on conflict (singleton) do update set version = excluded.version where installation.version <> excluded.version;
    select coalesce(array_agg(x), '{}') into outdated
    from bridge.watch x
    join pg_class c on c.oid = x.relation
    where x.removed_at is null and bridge._fingerprint(x) is distinct from x.fingerprint;
    begin
        perform bridge._lock_tables(outdated, '{}');
    exception when lock_not_available then
        raise warning 'the tables of % watches are busy, which keep their old triggers: apply this file again',
            cardinality(outdated);
        return;
    end;
    foreach w in array outdated loop
        begin
            perform bridge._install(w);
        exception when others then
            raise warning 'watch "%" could not be brought up to date and stays as it was: %', w.name, sqlerrm;
        end;
    end loop;
end
$upgrade$;
