-- Commit Bridge: all SQL that runs in the application's transactions.
--
-- Apply it with `psql -f triggers.sql`, `bridge install` or Django's `migrate`; all three apply this file. It is
-- idempotent: applying it twice changes nothing, and applying a newer file upgrades in place, with events pending.
-- `drop schema bridge cascade` removes everything. It needs PostgreSQL 15 or newer, no extension and no superuser.
--
--     select bridge.watch('reprice', 'shop.product', 'shop.tasks.reprice',
--         operations => '{update}', columns => '{price}');
--
-- Contents:   1 tables   2 checks on a watch   3 generated capture   4 watch, unwatch and alter
--             5 send   6 plan and apply   7 the log's ring   8 dead letters   9 inbox   10 status
--             11 rights, and upgrade of what is installed
--
-- What runs in whose transaction, and with whose rights:
--
--     writer          The triggers of a watch run in the transaction of the write. The condition in a WHEN has the
--                     writer's rights. The capture function has the rights of the schema's owner, so that writers need
--                     no right on the log; with on_error "warn" it also evaluates the condition. send() and
--                     send_task() have them too.
--     relay           `bridge run` reads windows and moves positions with the rights of its own role. The functions
--                     that it calls for other work (bury, recycle, adopt, set_aside, refresh, forget, status, drift,
--                     plan, disk_use, fate) have the rights of the schema's owner.
--     worker          once() notes a task in the transaction of the task's own writes, with the owner's rights.
--     administrator   watch, unwatch, alter, apply, allow, disallow and allow_only have the rights of the role that
--                     calls them, which must be the owner of the schema and of the watched tables. retry and discard
--                     have the rights of the schema's owner, so that a role needs only the right to call them.
--     migration       Django's guard calls step_aside and step_back in the transaction of the migration, with the
--                     rights of the role that migrates.
--
-- Names that start with an underscore are private. A private function that returns SQL text ends in `_ddl` if the text
-- makes or drops something, and in `_sql` if it is a part of a statement or of a function's body.
--
-- What `watch` generates has these names:
--
--     bridge.capture_<watch>         the function of a watch, which its triggers call
--     bridge_<operation>_<watch>     the AFTER triggers of a watch: insert, update, delete, truncate
--     zzy_bridge_move_<watch>        a BEFORE trigger of a partitioned table. It notes whether an update moves the row
--                                    to another partition, and calls bridge._note_move.
--     zzz_bridge_move_<watch>        the BEFORE trigger that reads the note and records the move. Triggers fire in
--                                    alphabetical order, so these two see the row as other triggers have left it.
--     bridge_probe                   a trigger that _check_inside makes and rolls back; nobody ever sees it
--
-- An older file also made bridge.<prefix>_<watch>, with the prefixes uses, key, data, rekeyed, changed and when. An
-- upgrade replaces these functions, and _generated finds them. What this file itself makes for the log:
--
--     bridge.event_<slot>            the partitions of the ring, 0 to 7
--     loaded, replicated             triggers of the log, which find events that were loaded from elsewhere
--     one                            a trigger of bridge.position, which keeps one position for each stream
--
-- docs/reference/generated-sql.md shows all that `watch` generates for one watch, with an explanation.
--
-- This file has no BEGIN and no COMMIT, since a migration tool brings its own transaction. With psql,
-- `--single-transaction` applies all of it or nothing.

-- From here on an unqualified name means an object of PostgreSQL's or one of ours, whatever other roles have put into
-- the schemas of the caller's search_path. The last statement restores the caller's search_path. Where the whole file
-- is one transaction, the setting is local to that transaction. Where each statement is a transaction of its own (psql
-- -f), the next statement no longer finds that setting, and makes it for the session.
do $pin$
begin
    perform pg_catalog.set_config(
        'bridge.search_path', pg_catalog.concat('transaction:', pg_catalog.current_setting('search_path')), true
    );
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
end
$pin$;
do $pin$
declare
    path constant pg_catalog.text := pg_catalog.current_setting('search_path');
    kept constant pg_catalog.text := coalesce(pg_catalog.current_setting('bridge.search_path', true), '');
begin
    if kept operator(pg_catalog.!~) '^transaction:' then
        -- An earlier run that failed half-way has saved the caller's search_path and not restored it. Keep that one.
        if path operator(pg_catalog.<>) 'pg_catalog, pg_temp' or kept operator(pg_catalog.!~) '^session:' then
            perform pg_catalog.set_config('bridge.search_path', pg_catalog.concat('session:', path), false);
        end if;
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
    end if;
end
$pin$;

-- Refuses a schema that another role owns or has objects in: that role could change the code that is called below.
do $owner$
declare
    complaint text;
begin
    -- Two installers that run together (two web containers that migrate) would collide in the catalogs, so they take
    -- turns.
    perform pg_advisory_xact_lock(4778957226326884351);
    -- Existence is checked first, since IF NOT EXISTS needs the right to create a schema even where it exists.
    if to_regnamespace('bridge') is null then
        create schema bridge;
    end if;
    select c.text
    into complaint
    from (
        select
            1 as place,
            format(
                'schema bridge holds a %s "%s" that belongs to role "%s"', o.kind, o.name, pg_get_userbyid(o.owner)
            ) as text
        from (
            select 'function', proname, proowner, pronamespace from pg_proc
            union all
            select 'relation', relname, relowner, relnamespace from pg_class
            union all
            select 'type', typname, typowner, typnamespace from pg_type
            union all
            select 'operator', oprname, oprowner, oprnamespace from pg_operator
        ) as o (kind, name, owner, namespace)
        where o.namespace = 'bridge'::regnamespace and o.owner <> current_user::regrole
        union all
        select
            1,
            format(
                'table bridge.%I has a trigger "%s" whose function belongs to role "%s"',
                c.relname, g.tgname, pg_get_userbyid(p.proowner)
            )
        from pg_trigger g
        join pg_class c on c.oid = g.tgrelid and c.relnamespace = 'bridge'::regnamespace
        join pg_proc p on p.oid = g.tgfoid and p.proowner <> current_user::regrole
        where not g.tgisinternal
        union all
        select 0, format('schema bridge belongs to role "%s"', pg_get_userbyid(n.nspowner))
        from pg_namespace n
        where n.nspname = 'bridge' and n.nspowner <> current_user::regrole
        union all
        select
            2,
            format(
                '%s may create objects in schema bridge',
                case a.grantee when 0 then 'everybody' else format('role "%s"', pg_get_userbyid(a.grantee)) end
            )
        from pg_namespace n
        cross join aclexplode(n.nspacl) a
        where n.nspname = 'bridge' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
    ) c
    order by c.place, c.text
    limit 1;
    if complaint is null then return; end if;
    complaint := format(
        '%s, and its code would run with the rights of role "%s", which applies this file: '
        'apply it as the owner of everything in the schema, or remove the objects and rights of other roles',
        complaint, current_user
    );
    if current_setting('bridge.search_path') like 'session:%' then
        -- psql would continue after an error and call functions of another role. Without a session it can't.
        raise warning '%', complaint;
        perform pg_terminate_backend(pg_backend_pid());
    end if;
    raise exception '%', complaint using errcode = 'object_not_in_prerequisite_state';
end
$owner$;

do $check$
declare
    installed text;
begin
    if current_setting('server_version_num')::integer < 150000 then
        raise exception 'Commit Bridge needs PostgreSQL 15 or newer, this server is %',
            current_setting('server_version');
    end if;
    -- An older file would install older capture functions than the bridge expects.
    if to_regclass('bridge.installation') is not null then
        execute 'select version from bridge.installation' into installed;
        if installed ~ '^[0-9.]+$'
            and string_to_array(installed, '.')::integer[] > string_to_array('0.1.0', '.')::integer[] then
            raise exception
                'Commit Bridge % is installed here, and this file is 0.1.0: upgrade the package that applies it',
                installed;
        end if;
    end if;
end
$check$;

comment on schema bridge is 'Commit Bridge: committed rows start Celery tasks';


-- 1 --- Tables ------------------------------------------------------------------------------------------------------

-- One row: the version of this file, and a generation that grows with every change of a watch. A relay compares the
-- generation, which is one cheap read, to find out that its copy of the watches is stale. The lock on this row also
-- makes concurrent changes of watches take turns.
create table if not exists bridge.installation (
    singleton boolean primary key default true check (singleton),
    version text not null,
    generation bigint not null default 1
);

-- Returns the identifier of this cluster. A dump that is restored in another cluster brings positions whose transaction
-- ids mean nothing there.
create or replace function bridge._cluster() returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select system_identifier from pg_control_system() $$;


-- Returns a position that lies before this transaction's own events and all later ones. A snapshot alone is not enough:
-- it never lists the transaction that takes it, so the events of that transaction would count as delivered once a later
-- transaction has completed. The position does not reach beyond this transaction's id either: a position that does was
-- not written here (bridge._is_foreign).
create or replace function bridge._present() returns pg_snapshot
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        '%s:%s:%s', least(pg_snapshot_xmin(p.now), p.me), least(pg_snapshot_xmax(p.now), p.me),
        (select string_agg(x::text, ',' order by x) from pg_snapshot_xip(p.now) x where x < p.me)
    )::pg_snapshot
    from (select pg_current_snapshot(), pg_current_xact_id()) as p (now, me)
$$;


-- Whether a position, and with it the log of its stream, says nothing about the transactions of this cluster: both were
-- restored from elsewhere, and bridge.adopt has not converted them yet. Such a position comes from another cluster, or
-- it lies ahead of the present, or ahead of the transaction that wrote its row. A position written here is never ahead
-- of its writer, so a dump from another copy of this cluster is detected however much has been written since.
create or replace function bridge._is_foreign(
    cluster bigint, seen pg_snapshot, upto pg_snapshot, written_by xid
) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Whether an event waits in a log whose position is foreign. The old snapshots decide, as they did in the cluster where
-- they were taken. What was written since the restore has a larger id and a later time. In doubt the event waits.
create or replace function bridge._waits_in_foreign_log(
    id bigint, xid xid8, at timestamptz, seen pg_snapshot, upto pg_snapshot, after_id bigint, largest_id bigint,
    moved_at timestamptz
) returns boolean
language sql immutable
begin atomic
    select id > largest_id or at > moved_at
        or not pg_catalog.pg_visible_in_snapshot(xid, seen)
        and (upto is null or id > after_id or not pg_catalog.pg_visible_in_snapshot(xid, upto));
end;


-- The independent parts of the log. The keys are keys of advisory locks: 'BRDG' in the upper half keeps them apart from
-- an application's own keys.
create table if not exists bridge.stream (
    name text collate "C" primary key check (name ~ '^[a-z_][a-z0-9_]{0,39}$'),
    number integer not null generated always as identity,
    -- held exclusively while the stream's relay sleeps and wants to be notified
    sleep_key bigint not null generated always as (4778957226326884352 + number * 2) stored,
    -- held exclusively by the session of the stream's one active relay
    owner_key bigint not null generated always as (4778957226326884353 + number * 2) stored
);

-- How far each stream has been delivered: a snapshot, not an id, since transactions don't commit in the order of their
-- ids. Everything visible in `seen` is delivered. While the relay walks through a window that is too large for one
-- batch, `upto` is the end of that window, and `after_id` the last id that the walk has reached.
-- There is one row per stream, and deliberately no index: while a long transaction anywhere keeps the old versions of a
-- row alive, a unique index would look at all of them each time that the row moves to another page. The relay finds its
-- row by ctid.
create table if not exists bridge.position (
    stream text collate "C" not null references bridge.stream (name),
    seen pg_snapshot not null default bridge._present(),
    upto pg_snapshot,
    after_id bigint,
    largest_id bigint not null default 0, -- of the delivered events
    cluster bigint not null default bridge._cluster(),
    moved_at timestamptz not null default clock_timestamp(),
    broker_error text, -- why the broker refuses messages at present, as the relay saw it
    broker_away_since timestamptz,
    check ((broker_error is null) = (broker_away_since is null)),
    check ((upto is null) = (after_id is null))
) with (fillfactor = 50);


create or replace function bridge._add_stream(name text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    with added as (insert into bridge.stream (name) values (name) on conflict do nothing returning name)
    insert into bridge.position (stream, seen) select a.name, bridge._present() from added a
$$;


-- Keeps the position that a stream has: a restore of the data alone brings a second one, and there is no index that
-- would refuse it.
create or replace function bridge._keep_position() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from bridge.position p where p.stream = new.stream) then return null; end if;
    return new;
end
$$;


-- One rule: when these operations touch these columns of this table, call this task. A removed watch keeps its row, so
-- that the events that it recorded can still be delivered.
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
    fingerprint text not null, -- of the generated functions and triggers: differs when they no longer fit the table
    changed_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz,
    -- Of the table when the watch was made: numbers of its columns, by which capture finds them under any name.
    remembered jsonb
);
do $remembered$
begin
    -- An older file made this table without the column.
    if not exists (select from pg_attribute where attrelid = 'bridge.watch'::regclass and attname = 'remembered') then
        alter table bridge.watch add column remembered jsonb;
    end if;
end
$remembered$;

-- CACHE must stay 1: events of one key are published in the order of their ids. A session that holds a block of ids
-- would put a later change of a row before an earlier one.
create sequence if not exists bridge.event_id cache 1;

-- An older file had no separate table for the ring. First we lock the watched tables, where writers are at work, and
-- then the log. A session that holds the log and waits for a table would make the table's writers wait for the log, and
-- PostgreSQL could choose a writer to fail.
do $rename$
declare
    patience constant text := current_setting('lock_timeout');
    held boolean;
    needed text;
begin
    if to_regclass('bridge.event') is null or to_regclass('bridge.ring') is not null then return; end if;
    for attempt in 1..50 loop
        held := false;
        begin
            perform set_config('lock_timeout', case patience when '0' then '3s' else patience end, true);
            for needed in
                (select format('lock table %s in share row exclusive mode', c.oid::regclass)
                from bridge.watch w join pg_class c on c.oid = w.relation where w.removed_at is null order by c.oid)
                union all
                select 'lock table bridge.event in access exclusive mode'
            loop
                execute needed || case when held then ' nowait' else '' end;
                held := true;
            end loop;
            exit;
        exception when lock_not_available then
            -- The locks of this attempt are released; it waited for the first one only.
            if attempt = 50 or not held then raise; end if;
        end;
        perform pg_sleep(0.02 + 0.08 * random());
    end loop;
    perform set_config('lock_timeout', patience, true);
    alter index bridge.event_lane_stream_xid rename to ring_lane_stream_xid;
    alter table bridge.event rename to ring;
end
$rename$;

-- The event log: append-only, never updated, never deleted row by row. It is a ring of eight partitions of four hours
-- each; retention truncates the oldest one when all of it is delivered.
--
-- Everybody reads the log as `bridge.event`. Capture, send and retry, which write events, use `bridge.ring`, which has
-- the same rows. So an INSERT that names `bridge.event` itself, or a partition, brings events from elsewhere. Triggers
-- on these tables check such rows, at no cost for the regular writers.
create table if not exists bridge.event (
    id bigint not null default nextval('bridge.event_id'),
    xid xid8 not null default pg_current_xact_id(),
    stream text collate "C" not null,
    watch text collate "C" not null,
    op text collate "C" not null,
    key jsonb, -- the key's values in order; null for a truncate
    data jsonb, -- {"old": {...}, "new": {...}, "changed": [...], "old_key": [...]}, each key only where it applies
    -- The value of the setting bridge.context. It is not cast, since a cast could fail in the writer.
    context text default nullif(current_setting('bridge.context', true), ''),
    at timestamptz not null default clock_timestamp(),
    slot smallint not null default (extract(epoch from transaction_timestamp())::bigint / 14400 % 8),
    -- Spreads the writers over eight places in the index, since they would queue up at a single one.
    lane smallint not null default (pg_backend_pid() & 7)
) partition by list (slot);

do $ring$
begin
    if to_regclass('bridge.ring') is null then
        create table bridge.ring partition of bridge.event default partition by list (slot);
    elsif not (select relispartition from pg_class where oid = 'bridge.ring'::regclass) then
        alter table bridge.event attach partition bridge.ring default;
    end if;
    for slot in 0..7 loop
        execute format(
            'create table if not exists bridge.event_%s partition of bridge.ring for values in (%s)', slot, slot
        );
    end loop;
end
$ring$;

-- The only index: windows are ranges of xid within a stream, in each lane. A second index (on id) would slow down every
-- writer. Existence is checked first, since IF NOT EXISTS takes the lock before it looks, and writers would wait for
-- that lock during every upgrade.
do $index$
declare
    reader text;
begin
    if to_regclass('bridge.event_lane_stream_xid') is null then
        create index event_lane_stream_xid on bridge.event (lane, stream, xid);
        alter sequence bridge.event_id owned by bridge.event.id;
        -- Roles that may read the log of an older file may read this one.
        for reader in
            select case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
            from pg_class c cross join aclexplode(c.relacl) a
            where c.oid = 'bridge.ring'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
        loop
            execute format('grant select on bridge.event to %s', reader);
        end loop;
    end if;
end
$index$;

-- Whether an event's values are large, or may be large in memory because they are compressed. The relay reads such
-- events separately, and only those that it has room for. No value is read for this: of a text, octet_length() is the
-- true size; of a jsonb, pg_column_size() is its size on disk.
create or replace function bridge._is_wide(watch text, op text, key jsonb, data jsonb, context text) returns boolean
language sql stable
return octet_length(watch) + octet_length(op) + coalesce(octet_length(context), 0)
    + coalesce(pg_column_size(key), 0) + coalesce(pg_column_size(data), 0) > 2000
or pg_column_compression(key) is not null or pg_column_compression(data) is not null;
-- An older file had this function.
drop function if exists bridge._wide(text, text, jsonb, jsonb, text);

-- An event that can't be published as it is, with the reason; it waits for a person. After a failover or a restored
-- backup, ids of events are given out a second time, and then `at` differs. The table has no sequence of its own, since
-- a restore of the data alone would set it back.
create table if not exists bridge.dead_letter (
    id bigint not null,
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
do $dead_letter$
begin
    -- An older file used the event's id as the primary key.
    if exists (
        select from pg_constraint where conrelid = 'bridge.dead_letter'::regclass and conname = 'dead_letter_pkey'
    ) then
        alter table bridge.dead_letter drop constraint dead_letter_pkey;
    end if;
    -- One event is one dead letter, however often it was refused. The index holds a hash of the watch's name, since a
    -- text may be too long for an index.
    if to_regclass('bridge.dead_letter_event') is null then
        create unique index dead_letter_event on bridge.dead_letter (id, at, stream, hashtextextended(watch, 0));
    end if;
end
$dead_letter$;


-- What a person decided about a dead letter, so that an event of the log does not look published when it was not. Its
-- `xid` is the transaction of the decision; a retry wrote the event into the log again in that transaction. recycle()
-- deletes what is too old to describe an event of the log.
create table if not exists bridge.decision (
    id bigint not null,
    stream text collate "C" not null,
    watch text collate "C" not null,
    at timestamptz not null,
    xid xid8 not null default pg_current_xact_id(),
    decision text collate "C" not null check (decision in ('retried', 'discarded')),
    reason text not null, -- of the dead letter
    context text default nullif(current_setting('bridge.context', true), ''),
    decided_at timestamptz not null default clock_timestamp()
);
create index if not exists decision_id on bridge.decision (id);


-- An event's xid must be the id of the transaction that writes it: everything else in this file relies on that. Rows
-- that come from elsewhere (COPY, pg_restore --data-only, a subscription) become dead letters. Where rows are equal,
-- only those are moved that this transaction has written itself: their xmin is still in progress, while all other rows
-- that it sees are committed.
create or replace function bridge._bury_loaded() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._bury_written(
    lanes smallint[], streams text[], xids xid8[], ids bigint[], own bigint
) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
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


-- Existence is checked first, as for the index above: all of this takes locks that writers would wait for. The triggers
-- also fire on replicas.
do $guard$
declare
    bare regclass;
    target regclass;
begin
    -- An older file had a trigger that fired for each row, which slowed down every writer.
    if exists (select from pg_trigger where tgrelid = 'bridge.ring'::regclass and tgname = 'loaded') then
        drop trigger loaded on bridge.ring;
    end if;
    for target in
        select 'bridge.event'::regclass
        union all
        select i.inhrelid from pg_inherits i where i.inhparent = 'bridge.ring'::regclass
    loop
        if not exists (select from pg_trigger where tgrelid = target and tgname = 'loaded') then
            execute format(
                'create trigger loaded after insert on %s referencing new table as loaded '
                'for each statement execute function bridge._bury_loaded()', target
            );
        end if;
        -- pg_restore --disable-triggers does not restore how a trigger was enabled.
        if exists (select from pg_trigger where tgrelid = target and tgname = 'loaded' and tgenabled <> 'A') then
            execute format('alter table only %s enable always trigger loaded', target);
        end if;
        continue when target = 'bridge.event'::regclass;
        if not exists (select from pg_trigger where tgrelid = target and tgname = 'replicated') then
            execute format(
                'create trigger replicated after insert on %s for each row execute function bridge._bury_loaded()',
                target
            );
        end if;
        if exists (select from pg_trigger where tgrelid = target and tgname = 'replicated' and tgenabled <> 'R') then
            execute format('alter table %s enable replica trigger replicated', target);
        end if;
    end loop;
    if not exists (select from pg_trigger where tgrelid = 'bridge.position'::regclass and tgname = 'one') then
        create trigger one before insert on bridge.position for each row execute function bridge._keep_position();
    end if;
    if exists (
        select from pg_trigger where tgrelid = 'bridge.position'::regclass and tgname = 'one' and tgenabled <> 'A'
    ) then
        alter table bridge.position enable always trigger one;
    end if;
    -- Where a publication has all tables (Debezium, a logical upgrade), PostgreSQL refuses updates of those without a
    -- key.
    for bare in
        select c.oid from pg_class c
        where c.relnamespace = 'bridge'::regnamespace and c.relkind in ('r', 'p') and c.relreplident <> 'f'
            and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
    loop
        execute format('alter table only %s replica identity full', bare);
    end loop;
end
$guard$;


-- Raises an error at other isolation levels: each statement of the functions in this file has to see what the statement
-- before it waited for.
create or replace function bridge._require_read_committed(what text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception '% works at the isolation level read committed only, not at %',
            what, current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state',
                hint = 'Begin the transaction with: begin isolation level read committed.';
    end if;
end
$$;


create or replace function bridge.version() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select version from bridge.installation $$;
comment on function bridge.version() is 'The version of the installed triggers.sql.';


-- 2 --- Checks on a watch: each wrong input raises one clear error before anything changes ----------------------------

create or replace function bridge._columns(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(attname::text order by attnum), '{}')
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;
comment on function bridge._columns(regclass) is 'The names of the columns of a table, in order.';


create or replace function bridge._key(relation regclass, key text[]) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge._key(regclass, text[]) is
'The key columns of a watch: those that it names, otherwise the primary key; null if there is neither.';


create or replace function bridge._check_columns(
    watch_name text, parameter text, names text[], relation regclass
) returns void
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
            using errcode = 'undefined_column',
                hint = format('Its columns: %s.', array_to_string(bridge._columns(relation), ', '));
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
$$;


create or replace function bridge._check_options(what text, options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Returns the columns that triggers can read. They read a wrong NULL from a virtual generated column. They also do so
-- from a stored generated column before the update, which is when a row that moves between partitions is captured.
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
        raise exception
            'watch "%": triggers can''t read the generated column "%" (it is virtual, or its table is partitioned)',
            w.name, unreadable
            using errcode = 'invalid_parameter_value', hint = 'Name the columns that it is computed from.';
    end if;
end
$$;


-- PostgreSQL's own message about an unknown column depends on the trigger, and may be about another thing.
create or replace function bridge._check_condition_columns(w bridge.watch) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._check_watch(w bridge.watch) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- 3 --- Generated capture: one trigger function per watch, static SQL inside ------------------------------------------
--
-- Every change of the table's definition is allowed, as on a table with a hand-written trigger, and capture continues:
--
--   triggers   Their WHEN decides which changes count. PostgreSQL keeps it in parsed form: it follows renames, and runs
--              as the writer.
--   capture_*  Its body is a text, so that nothing depends on the table. It reads the row by the current names of the
--              columns. Before that it asks `_fits`, which PostgreSQL folds into the plan as a constant, and evaluates
--              again exactly when the definition of the table has changed.
--   _slowly    Reads the row by the numbers of its columns, when the table no longer fits or a value can't be read.
--
-- Capture runs with the rights of the schema's owner, in the sessions of all roles. So its text qualifies every
-- function and operator with its schema, and no value is converted by a cast that another role may have made for its
-- own type.

-- Whether a type is one of PostgreSQL's own: their numbers are below 16384 (FirstNormalObjectId in access/transam.h).
create or replace function bridge._is_builtin(type oid) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select type < 16384::oid $$;


-- Returns the type under a domain, or under a domain over a domain.
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


-- Returns the types that a type is made of: elements of arrays, columns of composites, and the types under domains,
-- down to types that have no parts. The type itself is among them.
create or replace function bridge._parts(type oid) returns table (part oid, relation oid, is_leaf boolean)
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


-- json accepts values that jsonb refuses (\u0000, half a surrogate pair, 1e200000): such a value is recorded as its
-- text.
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


-- Returns an expression for a JSON object of these pairs ('name', value). A function takes at most 100 arguments, so a
-- long list becomes several objects that are joined.
create or replace function bridge._json_object_sql(pairs text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._json_array_sql(items text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(a.list, ' operator(pg_catalog.||) ' order by a.part)
    from (
        select
            (i.place - 1) / 100 as part,
            format('pg_catalog.jsonb_build_array(%s)', string_agg(i.item, ', ' order by i.place)) as list
        from unnest(items) with ordinality as i (item, place)
        group by 1
    ) a
$$;


-- Whether the transaction's snapshot shows a composite type, or the row type of a table, as it is now.
create or replace function bridge._is_as_seen(composite oid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the expression that converts a value to JSON. numeric becomes text, since most JSON readers would make it a
-- float and lose digits. bytea becomes hex, whatever bytea_output says. to_jsonb and similar functions would use a cast
-- to json that a role has made for its own type, so a value of such a type becomes its text, and a value that has such
-- parts is taken apart.
create or replace function bridge._value_sql(type oid, value text, is_part boolean default false) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Whether a type has a fixed size, and its conversion to JSON can neither fail nor grow. Reading a value of another
-- type may fail, and must not fail the writer: jsonb takes no text over 256 MB, for example.
create or replace function bridge._is_safe(type oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select type = any ('{bool,int2,int4,int8,oid,uuid,date,timestamp,timestamptz}'::regtype[]) $$;


-- Whether the JSON form of these columns depends on settings of the session. If so, the capture function pins the
-- settings.
create or replace function bridge._needs_pinned_settings(relation regclass, names text[]) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Whether <> is fast for a column and detects every change. For other types the stored bytes are compared
-- (record_image_ne, the operator *<>). It works for every type (json has no equality, and comparing with = would fail
-- in the writer) and sees changes that equality hides (1.0 and 1.00, 'a' and 'A' of citext).
create or replace function bridge._compares_exactly(a pg_attribute) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select a.atttypid = any ('{bool,int2,int4,int8,oid,uuid,date,time,timestamp,timestamptz,bytea}'::regtype[])
        or a.atttypid = any ('{text,varchar,name}'::regtype[])
        and coalesce((select c.collisdeterministic from pg_collation c where c.oid = a.attcollation), true)
$$;


-- Returns the expression for "this column changed" in a trigger's WHEN.
create or replace function bridge._changed_sql(relation regclass, name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        case
            when bridge._compares_exactly(a) then 'old.%1$I is distinct from new.%1$I'
            else 'pg_catalog.record_image_ne(row(old.%1$I), row(new.%1$I))'
        end,
        name
    )
    from pg_attribute a
    where a.attrelid = relation and a.attname = name
$$;


-- Returns a column's name as it is written in a capture function. %I would leave words unquoted that are keywords only
-- in PL/pgSQL, such as begin.
create or replace function bridge._quoted_sql(name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select '"' || replace(name, '"', '""') || '"' $$;


-- Returns the expression for "this column changed" in a capture function, which is parsed in the session of the writer:
-- IS DISTINCT FROM would take its operator from the writer's search_path. Texts are compared by their bytes, since the
-- collation of a column may change without a new plan in sessions that compare.
create or replace function bridge._differs_sql(relation regclass, name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Returns the tokens of a condition: literals, names, and references to columns of the old and new row (column_name
-- "*": the whole row).
create or replace function bridge._tokens(condition text)
returns table (place bigint, token text, row_name text, column_name text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Returns the columns that a condition names: all columns where it names a whole row, unless `by_name` asks only for
-- those that it names one by one.
create or replace function bridge._columns_in_condition(w bridge.watch, by_name boolean) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(distinct c.name)
    from bridge._tokens(w.condition) t
    join unnest(bridge._columns(w.relation)) as c (name)
        on t.column_name = c.name or t.column_name = '*' and not by_name
$$;


-- Returns a token of a condition in a form that every session reads alike, whatever standard_conforming_strings says
-- about a backslash in a literal.
create or replace function bridge._token_sql(token text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when starts_with(token, '''') and strpos(token, chr(92)) > 0
            then 'E' || replace(token, chr(92), chr(92) || chr(92))
        else token
    end
$$;


-- Returns the condition for the trigger of one operation. A row that the operation does not have reads as NULL, of the
-- type under a domain: the domain itself may refuse NULL, and one that is altered would fail the writer.
create or replace function bridge._condition_sql(w bridge.watch, op text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the condition as it is written in a capture function.
create or replace function bridge._condition_inside_sql(condition text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(
        case
            when t.column_name <> '*' then format('%s.%s', t.row_name, bridge._quoted_sql(t.column_name))
            else bridge._token_sql(t.token)
        end, '' order by t.place
    )
    from bridge._tokens(condition) t
$$;


-- Returns the cluster and database in which numbers of tables, columns and types are valid; elsewhere they mean
-- nothing.
create or replace function bridge._place() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select bridge._cluster() || '/' || oid from pg_database where datname = current_database() $$;


-- Returns the current name of a column, whatever snapshot the transaction has; null if there is no column with this
-- number.
create or replace function bridge._column_name(relation oid, number integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(c.names[3], format('........pg.dropped.%s........', number))
    from (select (pg_identify_object_as_address('pg_class'::regclass, relation, number)).object_names) as c (names)
$$;


-- Returns the current columns of a table that triggers can read, whatever snapshot the transaction has.
create or replace function bridge._columns_now(relation oid) returns table (number integer, name text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._carries_data(w bridge.watch) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$ begin return w.data is not null or w.options ->> 'call' is not distinct from 'event'; end $$;


-- Whether the event lists which columns have changed, of all columns, including columns that are added later.
create or replace function bridge._lists_all(w bridge.watch) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select 'update' = any (w.operations) and w.columns is null and w.data is null
        and w.options ->> 'call' is not distinct from 'event'
$$;


-- Returns the columns that capture compares, so that the event can list those that have changed.
create or replace function bridge._compared(w bridge.watch) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when 'update' <> all (w.operations) or not bridge._carries_data(w) then '{}'
        when bridge._lists_all(w) then bridge._readable(w)
        else array(select distinct n from unnest(coalesce(w.columns, '{}') || coalesce(w.data, '{}')) n)
    end;
end
$$;


-- Whether the capture function evaluates the condition itself. An error in a trigger's WHEN fails the write, so with
-- on_error "warn" the condition is evaluated inside.
create or replace function bridge._asks_inside(w bridge.watch) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select w.condition is not null and w.options ->> 'on_error' is not distinct from 'warn' $$;


-- Returns what a watch remembers of its table: the numbers of the columns that it names, by which it finds them under
-- any name.
create or replace function bridge._remember(w bridge.watch) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Whether the columns of a table or composite type have these numbers, names and types, and (`last`) none was added.
-- Capture functions call it with constants only, so that PostgreSQL evaluates it when it makes a plan, and again when
-- the definition of the relation has changed. For that purpose it claims to be immutable, which it is not. It asks for
-- what PostgreSQL knows now, and does not read catalogs with the transaction's snapshot, which may be older than the
-- definition.
create or replace function bridge._fits(place text, relation regclass, columns jsonb, last integer) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the calls of `_fits` for a watch and for the composite types of its columns, which may change by themselves.
-- For the watch's fingerprint (`portable`) the calls have names instead of numbers, since a restore gives other
-- numbers.
create or replace function bridge._fits_sql(w bridge.watch, portable boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Reads one value of a row, by the current name of its column. A value that JSON can't hold is returned as its text. A
-- value that can't be read at all (the column is missing, a text is over 256 MB) is null, with the reason.
create or replace function bridge._read(row_ anyelement, name text, out value jsonb, out problem text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Reads the key and the data of a change that the capture function can't read: the table has changed since the watch
-- was made, the database was restored, or JSON can't hold a value. It finds the columns by number, and uses the names
-- that the watch knows. If a part of the key is missing, `unreadable` says so, which makes the event a dead letter.
create or replace function bridge._slowly(
    remembered jsonb, op text, relation regclass, old_row anyelement, new_row anyelement, out key jsonb, out data jsonb
)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = iso_8601
set bytea_output = hex set extra_float_digits = 1 set lc_monetary = 'C'
as $$
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
$$;


-- Returns the key of a row, as an expression over `old` or `new`.
create or replace function bridge._key_sql(w bridge.watch, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select bridge._json_array_sql(array_agg(
        bridge._value_sql(a.atttypid, format('%s.%s', row_name, bridge._quoted_sql(k.name))) order by k.place
    ))
    from unnest(bridge._key(w.relation, w.key)) with ordinality as k (name, place)
    join pg_attribute a on a.attrelid = w.relation and a.attname = k.name
$$;


-- Returns the columns that the events of a watch carry, as an expression over `old` or `new`.
create or replace function bridge._data_sql(w bridge.watch, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select bridge._json_object_sql(array_agg(
        format('%L, %s', d.name, bridge._value_sql(a.atttypid, format('%s.%s', row_name, bridge._quoted_sql(d.name))))
        order by d.place
    ))
    from unnest(w.data) with ordinality as d (name, place)
    join pg_attribute a on a.attrelid = w.relation and a.attname = d.name
$$;


-- Returns the statements that read the row of one operation into k (the key) and d (the data).
create or replace function bridge._reading_sql(w bridge.watch, op text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Whether reading a row may fail. Then the reading statements have an exception block of their own, which costs no
-- transaction id, since they write nothing.
create or replace function bridge._may_fail(w bridge.watch) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_attribute a
        where a.attrelid = w.relation and a.attname = any (bridge._key(w.relation, w.key) || coalesce(w.data, '{}'))
            and not bridge._is_safe(a.atttypid)
    )
$$;


-- Returns the expression for the data that an event of this watch has, made of `data`. The event of a shadow watch also
-- has the beginning of the client's statement, so that a report can show which statement the old dispatch missed.
create or replace function bridge._kept_data_sql(w bridge.watch, data text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when w.options -> 'shadow' = 'true' then format(
        'coalesce(%s, ''{}''::pg_catalog.jsonb) operator(pg_catalog.||) pg_catalog.jsonb_build_object('
        '''statement'', pg_catalog."left"(pg_catalog.current_query(), 500))', data
    ) else data end
$$;


-- Returns the body for one operation. It writes the event with a plain INSERT (no cast that can fail, no lock on a
-- shared row, no upsert); after that, the capture function wakes a sleeping relay.
-- Armed sleep: the relay holds sleep_key exclusively while it sleeps. A writer that gets the key in shared mode keeps
-- it until its commit is visible, and the relay looks once more after its own lock is granted. A writer that does not
-- get the key notifies. So NOTIFY, which takes a lock for the whole server, is paid only while a relay sleeps.
create or replace function bridge._capture_branch_sql(
    w bridge.watch, op text, remembered jsonb, fits text, may_fail boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._capture_ddl(w bridge.watch, portable boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Returns the operations of a watch, and where rows can move between partitions also 'note' and 'move': PostgreSQL
-- reports such an update to row triggers as a delete in one partition and an insert in another, and a watch on updates
-- would miss it.
create or replace function bridge._operations(w bridge.watch) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when 'update' = any (w.operations) and exists (select from pg_class where oid = w.relation and relkind = 'p')
        then w.operations || '{note,move}'::text[]
        else w.operations
    end
$$;


create or replace function bridge._trigger_name(op text, watch_name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    -- BEFORE triggers fire in alphabetical order. Ours come last, since triggers before them may still change the row.
    select case op
        when 'note' then 'zzy_bridge_move_'
        when 'move' then 'zzz_bridge_move_'
        else format('bridge_%s_', op)
    end || watch_name
$$;


-- Returns the columns that decide to which partition a row belongs, on every level. Where an expression decides, it
-- returns all columns but generated ones, which PostgreSQL allows neither in a partition key nor in a WHEN before the
-- update.
create or replace function bridge._partition_columns(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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
$$;


-- Notes whether the new version of a row no longer belongs to its present partition; the WHEN of the next trigger reads
-- the note. A partition key may call functions of the table's owner, so this function runs as the writer and with the
-- writer's search_path, as PostgreSQL's own routing does.
create or replace function bridge._note_move() returns trigger
language plpgsql
as $$
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
$$;


-- Returns the statement that makes one trigger of a watch. A loose trigger names only columns of the partition key. It
-- stands in for the strict one while columns change that the strict one names, and records every change.
create or replace function bridge._trigger_ddl(w bridge.watch, op text, loose boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the statements that make the triggers of a watch, in order.
create or replace function bridge._triggers_ddl(w bridge.watch, loose boolean default false) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns a fingerprint of the generated statements. It differs when the table's columns, or a newer triggers.sql,
-- require other statements; it stays as it is in a restored database.
create or replace function bridge._fingerprint(w bridge.watch) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select md5(array_to_string(
        bridge._capture_ddl(w, portable => true) || bridge._triggers_ddl(w), E'\n'
    ))
$$;


-- Returns the present triggers of a watch: the operation ("renamed" where the name does not show it), and whether the
-- trigger is enabled as the watch requires, on every partition.
create or replace function bridge._triggers(watch_name text)
returns table (relation regclass, trigger_name name, op text, enabled boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the generated functions of a watch: capture, and those that an older triggers.sql made beside it, in an order
-- in which they can be dropped.
create or replace function bridge._generated(watch_name text) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select p.oid::regprocedure
    from unnest('{uses,key,data,rekeyed,changed,when,capture}'::text[]) with ordinality as f (prefix, place)
    join pg_proc p on p.pronamespace = 'bridge'::regnamespace and p.proname = (f.prefix || '_' || watch_name)::name
    order by f.place
$$;


-- Returns the columns that the WHEN of one trigger should name, each one by itself.
create or replace function bridge._columns_in_when(w bridge.watch, op text) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(case when op in ('update', 'move') then w.columns end, '{}') || array(
        select t.column_name
        from bridge._tokens(w.condition) t
        join unnest(bridge._columns(w.relation)) as c (name) on c.name = t.column_name
        where not bridge._asks_inside(w) and op not in ('truncate', 'note')
            and t.row_name is distinct from case op when 'insert' then 'old' when 'delete' then 'new' end
    )
$$;


-- Whether a trigger refers to the columns that have these names now. A trigger follows renames, so after a rename it
-- refers to a column of another name.
create or replace function bridge._names_columns(relation regclass, trigger_name name, columns text[]) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._is_intact(w bridge.watch) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- 4 --- watch, unwatch and alter --------------------------------------------------------------------------------------

-- Returns the locks that are needed to install watches and to remove others: the lock of CREATE TRIGGER, or, where a
-- trigger is dropped, the stronger lock of DROP TRIGGER.
create or replace function bridge._locks(installed bridge.watch[], removed text[])
returns table (relation regclass, mode text)
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


-- Takes locks on tables and their partitions, and never waits for one while it holds another: together with a writer
-- that uses the same tables in another order that would be a deadlock, and PostgreSQL could choose the writer to fail.
-- A lock that we wait for makes later writers wait too, so we wait at most three seconds, unless the caller has set a
-- lock_timeout.
create or replace function bridge._lock(relations regclass[], modes text[]) returns void
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


create or replace function bridge._lock_tables(installed bridge.watch[], removed text[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ select bridge._lock(array_agg(l.relation), array_agg(l.mode)) from bridge._locks(installed, removed) l $$;


-- Drops triggers of a watch, but not those of the `kept` operations on `kept_relation`: DROP TRIGGER takes a stronger
-- lock than CREATE OR REPLACE TRIGGER.
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


create or replace function bridge._drop_functions(watch_name text, kept regprocedure default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- Makes or replaces the capture function of a watch. This alone needs no lock on the table.
create or replace function bridge._install_function(w bridge.watch) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute bridge._capture_ddl(w, portable => false);
    execute format('revoke all on function bridge.%I() from public', 'capture_' || w.name);
end
$$;


-- With on_error "warn" the capture function evaluates the condition, with the rights of the schema's owner, from a text
-- that is parsed again in each session. There a condition may use only objects of PostgreSQL's own, and no function or
-- type of another role. PostgreSQL itself finds out what the condition uses: in a trigger whose creation is rolled
-- back.
create or replace function bridge._check_inside(w bridge.watch) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- Installs a watch. The caller holds the table's lock (_lock_tables): no writer may run between the old functions and
-- the new ones.
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
        '', clock_timestamp(), null, null
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
    w constant bridge.watch :=
        bridge._watch(name, relation, task, operations, columns, condition, key, data, options, stream);
begin
    perform bridge._check_watch(w); -- LOCK TABLE has another error message for a view
    perform bridge._lock_tables(array[w], '{}');
    perform bridge._install(w);
end
$$;
comment on function bridge.watch(text, regclass, text, text[], text[], text, text[], text[], jsonb, text) is
'When these operations touch these columns of this table, call this task. '
'Creates the rule and its triggers, or replaces them.';


create or replace function bridge.unwatch(name text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.unwatch(text) is
'Removes a watch and its triggers; events that it has recorded are still delivered. False: this watch did not exist.';


-- Returns the watches that a change of this table may affect: its own, and those of its partitions, children and
-- parents.
create or replace function bridge._watches_of(relation regclass) returns setof bridge.watch
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the current names of these columns, in their order and without those that were dropped; null if none is left.
create or replace function bridge._followed(names text[], now_ jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select nullif(array(
        select now_ ->> n
        from unnest(names) with ordinality as c (n, place)
        where now_ ->> n is not null
        order by place
    ), '{}')
$$;


-- Returns the watch with the current names of its columns. It loses columns that were dropped, with a notice. A key is
-- left as it is, since without it an event does not identify the row.
create or replace function bridge._follow(w bridge.watch) returns bridge.watch
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the columns that a condition names one by one.
create or replace function bridge._named(condition text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select array(select distinct t.column_name from bridge._tokens(condition) t where t.column_name <> '*') $$;


-- Makes the triggers of a watch loose, or creates loose ones where triggers are missing. The empty fingerprint marks
-- the watch as drifted.
create or replace function bridge._loosen(w bridge.watch) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge.step_aside(relation regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.step_aside(regclass) is
'Before a change that PostgreSQL refuses because a trigger names a column: makes the watches of this table record '
'every change and name no column. False if nothing watches the table.';


create or replace function bridge.step_back(relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.step_back(regclass) is
'After a change of this table: its watches follow renamed columns, lose dropped ones, and again record '
'only the changes that they select.';


-- Whether a text contains a name as a separate word, in upper or lower case.
create or replace function bridge._mentions(statement text, name text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select statement ~* format(
        '(?<![[:alnum:]_$])%s(?![[:alnum:]_$])',
        regexp_replace(replace(name, '"', '""'), '([][(){}.*+?^$|\\])', '\\\1', 'g')
    )
$$;


-- Returns the watched tables, and their partitions, children and parents, that a statement mentions. Django's `migrate`
-- calls it.
create or replace function bridge._mentioned(statement text) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Returns the tables with triggers of watches that an error message of PostgreSQL's mentions.
create or replace function bridge._refusing(complaint text) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select distinct t.tgrelid::regclass
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'bridge'::regnamespace
    where not t.tgisinternal and t.tgparentid = 0 and bridge._mentions(complaint, t.tgname)
$$;


-- Returns the tables of watches that have lost a trigger: CASCADE drops it without a message.
create or replace function bridge._torn() returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- Locks the table, and the tables that step_back will need: those of watches on its parents or partitions that no
-- longer fit.
create or replace function bridge._lock_for_alter(relation regclass) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    select bridge._lock(array_agg(l.relation) || $1, array_agg(l.mode) || array['access exclusive'])
    from bridge._locks(
        array(
            select w::bridge.watch from bridge._watches_of(relation) w
            where w.relation <> $1 and not bridge._is_intact(w)
        ), '{}'
    ) l
$$;


-- This function has no fixed search_path, since in `clauses` the name of a type has the meaning that it has for the
-- caller. So the function qualifies every name that it calls.
create or replace function bridge.alter(relation regclass, clauses text) returns void
language plpgsql
as $$
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
comment on function bridge.alter(regclass, text) is
'ALTER TABLE for a watched table, with any clauses, in one transaction and without an unrecorded change. '
'The watches follow the change.';


-- After a restore, tables and columns have other numbers than capture knows. It still records every change, but slowly.
-- This function gives it the new numbers; it takes no lock on a table.
create or replace function bridge.refresh() returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.refresh() is
'Gives capture the numbers that tables and columns have here, after a restore; returns how many watches needed it. '
'`bridge run` calls it.';


-- 5 --- send: any allowed task, as part of the caller's transaction ---------------------------------------------------

-- The names of the tasks that `send` and `send_task` may start. Only the owner of the schema changes this table,
-- through allow(), disallow() and allow_only(). The source is the program that keeps its tasks here up to date, such as
-- "django"; null: a person has allowed the task.
create table if not exists bridge.sendable (
    task text collate "C" primary key check (task ~ '^\S+$'),
    source text collate "C"
);
do $source$
begin
    -- An older file made this table without the column.
    if not exists (select from pg_attribute where attrelid = 'bridge.sendable'::regclass and attname = 'source') then
        alter table bridge.sendable add column source text collate "C";
    end if;
end
$source$;

-- An older file had these functions without a source. Beside the new ones, their calls would be ambiguous.
drop function if exists bridge.allow(text);
drop function if exists bridge.disallow(text);


create or replace function bridge.allow(task text, source text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update bridge.installation set generation = generation + 1;
    -- What a person has allowed stays a person's, and what a person allows becomes one's.
    insert into bridge.sendable as s values (task, allow.source)
        on conflict on constraint sendable_pkey do update set source = null where excluded.source is null;
end
$$;
comment on function bridge.allow(text, text) is 'Lets send() and send_task() start this task.';


create or replace function bridge.disallow(task text, source text default null) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update bridge.installation set generation = generation + 1;
    delete from bridge.sendable s
    where s.task = disallow.task and (disallow.source is null or s.source = disallow.source);
    return found;
end
$$;
comment on function bridge.disallow(text, text) is
'No longer lets send() and send_task() start this task; with a source, only if that source has allowed it. A task '
'that was sent and still waits becomes a dead letter.';


create or replace function bridge.allow_only(tasks text[], source text)
returns table (action text, task text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.allow_only(text[], text) is
'Allows these tasks for a source, and no longer allows its other ones; returns what it changed. What other sources and '
'people have allowed stays.';


-- Writes a task into the log, and wakes the relay if it sleeps.
create or replace function bridge._send(data jsonb, stream text) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._require_allowed(tasks text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge.send(
    task text, args jsonb default '[]', kwargs jsonb default '{}', options jsonb default '{}',
    stream text default 'default'
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.send(text, jsonb, jsonb, jsonb, text) is
'Starts an allowed task once the calling transaction has committed; returns the id of the event.';


-- Sends a task with a message that Celery has made in the program that sends it. Its arguments are JSON texts, since
-- jsonb would change them (1e16 to a whole number, the order of keys). `message` has what else the message says, with a
-- task id that the sender chose. `tasks` are all tasks that the message names: itself, callbacks, the rest of a chain,
-- the body of a chord. They are checked here so that the sender gets an error at once. What decides is the check that
-- `bridge run` makes on the message itself (bridge/message.py): one program reads these texts, so nobody can make two
-- of them disagree. It refuses a message that names a task which is not allowed, so here nobody gains by naming fewer.
-- An older bridge expects arrays, so it makes a dead letter of such an event, and does not start the task without its
-- arguments.
create or replace function bridge.send_task(
    task text, args text, kwargs text, message jsonb, tasks text[] default '{}', stream text default 'default'
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.send_task(text, text, text, jsonb, text[], text) is
'Starts an allowed task, with a message that Celery has made, once the calling transaction has committed; returns the '
'id of the event. For django_app, which lets Celery make the message.';


-- 6 --- plan and apply: many watches together, as data ----------------------------------------------------------------

-- Returns the tables that these watches name, in order; null where a table does not exist. The function sets no
-- search_path, since the name of a table has the meaning that it has for the caller, so it qualifies every name. plan()
-- and apply() only add the call of this function.
create or replace function bridge._relations(wanted jsonb) returns regclass[]
language sql stable
as $$
    select pg_catalog.array_agg(
        pg_catalog.to_regclass(w.item operator(pg_catalog.->>) 'relation'::pg_catalog.text) order by w.place
    )
    from pg_catalog.jsonb_array_elements(wanted) with ordinality as w (item, place)
$$;


create or replace function bridge._wanted(item jsonb, relation regclass) returns bridge.watch
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
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


-- An older file's function, which looked everything up by the caller's search_path.
drop function if exists bridge._wanted(jsonb);


create or replace function bridge._texts(list jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case jsonb_typeof(list) when 'array' then array(select jsonb_array_elements_text(list)) end $$;


-- Returns why a watch can't be installed yet: its table or columns of it do not exist. Null: nothing is missing.
create or replace function bridge._missing(item jsonb, relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge._definition(w bridge.watch) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_strip_nulls(to_jsonb(w) - '{fingerprint,changed_at,removed_at,remembered}'::text[])
$$;


-- This runs with the owner's rights, so that a role needs only the right to call it. Nothing that the caller gives is
-- evaluated here: a condition is read as text.
create or replace function bridge._plan(wanted jsonb, relations regclass[], prune boolean, source text)
returns table (action text, name text, before jsonb, after jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge.plan(wanted jsonb, prune boolean default false, source text default null)
returns table (action text, name text, before jsonb, after jsonb)
language sql stable
as $$ select action, name, before, after from bridge._plan(wanted, bridge._relations(wanted), prune, source) $$;
comment on function bridge.plan(jsonb, boolean, text) is
'What apply() would do: one row per watch, with the action create, replace, repair (triggers are missing, disabled or '
'outdated), keep, later (the table or a column does not exist yet: "after" has the reason), or, with prune, remove.';


create or replace function bridge._apply(wanted jsonb, relations regclass[], prune boolean, source text)
returns table (action text, name text, before jsonb, after jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


create or replace function bridge.apply(wanted jsonb, prune boolean default false, source text default null)
returns table (action text, name text, before jsonb, after jsonb)
language sql
as $$ select action, name, before, after from bridge._apply(wanted, bridge._relations(wanted), prune, source) $$;
comment on function bridge.apply(jsonb, boolean, text) is
'Changes the watches to those of a JSON array of objects whose keys are the parameters of watch(); '
'returns the rows of plan(). A watch that is for later stays as it is.';


create or replace function bridge.drift() returns table (name text, relation text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.name, w.relation::text
    from bridge.watch w
    where w.removed_at is null
        and not case
            when exists (select from pg_class c where c.oid = w.relation) then bridge._is_intact(w) else false
        end
    order by 1
$$;
comment on function bridge.drift() is
'Watches whose triggers are missing, disabled or outdated, or whose table was dropped; apply() repairs them.';


-- 7 --- The log's ring ------------------------------------------------------------------------------------------------

-- Truncates each slot whose events are all older than `retention` and all delivered; returns those slots. A slot takes
-- the transactions that began in its four hours, so its age follows from the clock, and no row is read. A stream has
-- delivered a slot when all of it is visible in the stream's position. The slot is locked before that check: nobody can
-- write into it between the check and the truncate, and a writer that has not committed yet still keeps it.
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


do $signature$
begin
    if to_regprocedure('bridge.adopt(text, pg_snapshot, bigint)') is not null then
        drop function bridge.adopt(text, pg_snapshot, bigint);
    end if;
end
$signature$;


-- Turns a stream's log that was restored from elsewhere into a log of this cluster. Events that wait in it look as if
-- this transaction had written them, and delivered events as if they had always been there. The position becomes the
-- present; this transaction, and those that write at this time, lie ahead of it. Without a row in the result, the log
-- belongs to this cluster already and nothing was done.
create or replace function bridge.adopt(stream text) returns table (reason text, waiting bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.adopt(text) is
'Adopts the log of a stream that was restored from elsewhere: returns the reason, and how many events wait in it; '
'no row if nothing had to be done. For bridge run.';


-- Events that were restored without triggers may have transaction ids that are not of this cluster, and would be new
-- for ever. They are in no window, and this function moves them to the dead letters.
create or replace function bridge.set_aside() returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.set_aside() is
'Makes dead letters of events that were loaded from another cluster without triggers; returns their number. '
'For bridge run.';


-- 8 --- Dead letters --------------------------------------------------------------------------------------------------

-- Copies events of the log into the dead letters. The database copies them, as they are: the bridge process could not
-- always write them again (it may not even be able to read them), and so it can't invent an event, nor a dead letter
-- that a person would retry. An event that is refused again gets the newer reason.
-- The log's index leads to transactions. Each transaction is read once, since it may have written a million events;
-- hence there is no nested loop over the wanted events. `at` is null where Python can't represent it.
create or replace function bridge.bury(
    stream text, ids bigint[], ats timestamptz[], xids xid8[], reasons text[]
) returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_nestloop = off set jit = off
as $$
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
comment on function bridge.bury(text, bigint[], timestamptz[], xid8[], text[]) is
'Copies events of the log into bridge.dead_letter, with the reasons; returns their number. For bridge run only.';


-- Returns the dead letters that meet all given conditions. Without a condition it is an error, since "all" should be
-- written out (since => '-infinity'). Oldest first, at most `at_most`, skipping rows that another session has locked.
-- The rows are locked, so they stay where their ctid says.
create or replace function bridge._chosen_letters(
    ids bigint[], watch text, stream text, since timestamptz, until timestamptz, at_most integer
) returns setof tid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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


-- Puts the events back into the log as they were, with their ids and times, so that their tasks keep their ids. The
-- events get the xid of this transaction, which puts them into the next window. Only the end of a chain of tasks is
-- changed: its depth becomes 0, as otherwise it would be refused again. The worker writes the two names side by side.
create or replace function bridge.retry(
    ids bigint[] default null, watch text default null, stream text default null,
    since timestamptz default null, until timestamptz default null, at_most integer default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
    chosen constant tid[] := array(select bridge._chosen_letters(ids, watch, stream, since, until, at_most));
begin
    with gone as (delete from bridge.dead_letter d where d.ctid = any (chosen) returning d.*)
    insert into bridge.decision (id, stream, watch, at, decision, reason)
    select g.id, g.stream, g.watch, g.at, 'discarded', g.reason from gone g;
    return cardinality(chosen);
end
$$;
comment on function bridge.discard(bigint[], text, text, timestamptz, timestamptz, integer) is
'Deletes dead letters for good; returns their number. At least one condition must be given.';


-- 9 --- Inbox: the tasks whose work is committed, for effects that happen once ----------------------------------------

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


-- To be called in the transaction of the task's own writes: true the first time, false when the task's work is
-- committed already. Two deliveries that run together take turns: the second waits here until the first one ends.
create or replace function bridge.once(id uuid) returns boolean
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with noted as (insert into bridge.inbox (id) values (once.id) on conflict do nothing returning true)
    select exists (select from noted)
$$;
comment on function bridge.once(uuid) is
'Notes a task''s id in the calling transaction: true the first time, false if it was noted before.';


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
comment on function bridge.forget(interval, integer) is
'Deletes old entries of the inbox, at most `at_most`; returns their number.';


-- 10 --- Shadow: what the old dispatch published, for a comparison with the events of shadow watches ------------------

create table if not exists bridge.shadow_publish (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    task text not null,
    args jsonb not null, -- the positional arguments, then the values of the others
    inside boolean not null, -- whether a transaction was open
    xid xid8, -- of that transaction, if it had written something by then
    place text -- file and line that published
);
do $shadow$
begin
    if to_regclass('bridge.shadow_publish_at') is null then
        create index shadow_publish_at on bridge.shadow_publish (at);
    end if;
end
$shadow$;


-- Takes an array of {"task", "args", "inside", "xid", "place", "age"}, at most 1000 of them; age is in seconds. Only
-- tasks of shadow watches are noted, and nothing once the table has 256 MB, so this right can't fill the disk. Returns
-- the number that was noted.
create or replace function bridge.note_publishes(publishes jsonb) returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function bridge.note_publishes(jsonb) is
'Notes what the old dispatch published for tasks of shadow watches; returns the number.';


-- 11 --- Status -------------------------------------------------------------------------------------------------------

-- Events that are committed and not delivered yet: the window between the position and now, without the part of a large
-- window that the relay has walked already; or the events that wait in a log that was restored and is not adopted yet.
-- OFFSET makes PostgreSQL evaluate _is_foreign once per stream, and never for each event.
create or replace view bridge.waiting as
select w.*
from (
    select p.*, bridge._is_foreign(p.cluster, p.seen, p.upto, p.xmin) as is_foreign from bridge.position p offset 0
) as p
cross join lateral (
    select e.*
    from bridge.event e
    where e.lane = any ('{0,1,2,3,4,5,6,7}') and e.stream = p.stream and e.xid >= pg_snapshot_xmax(p.seen)
        and not p.is_foreign
        and (p.upto is null or e.id > p.after_id or not pg_visible_in_snapshot(e.xid, p.upto))
        -- A transaction of another cluster is not visible (see bridge.set_aside).
        and pg_visible_in_snapshot(e.xid, (select pg_current_snapshot()))
    union all
    select e.*
    from bridge.event e
    where e.lane = any ('{0,1,2,3,4,5,6,7}') and e.stream = p.stream
        and e.xid = any (array(select pg_snapshot_xip(p.seen)))
        and not p.is_foreign
        and (p.upto is null or e.id > p.after_id or not pg_visible_in_snapshot(e.xid, p.upto))
        and pg_visible_in_snapshot(e.xid, (select pg_current_snapshot()))
    union all
    select e.*
    from bridge.event e
    where e.stream = p.stream
        and p.is_foreign
        and bridge._waits_in_foreign_log(e.id, e.xid, e.at, p.seen, p.upto, p.after_id, p.largest_id, p.moved_at)
) as w;
comment on view bridge.waiting is 'Events that are committed and not delivered yet.';


-- Waits for a session lock, but not for ever: a waiting statement has a snapshot, and with it holds back, in the whole
-- database, the horizon behind which VACUUM may remove dead rows. A standby waits for weeks, in short calls of this
-- function. An exception that is caught here writes nothing into the server's log, while one that reaches the client
-- would.
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
'Whether this session got the advisory lock within `at_most`. For bridge run only.';


-- Returns the process id of the session that holds the advisory lock with this key; null if no session holds it.
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
    stream text, watches bigint, waiting bigint, of_removed bigint, lag interval, dead_letters bigint,
    owner_pid integer, asleep boolean, moved_at timestamptz, broker_error text, broker_away_since timestamptz
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
comment on function bridge.status() is
'One row per stream: its watches, committed events that wait, how many of those are of removed watches, age of '
'the oldest one, dead letters, the backend of the relay that serves it, and why the broker refuses its messages.';


-- What became of an event of the log. A decision counts if it is younger than this row of the log: a retry writes the
-- event again, with the xid of the decision, and then the older row is `retried` and the newer one has its own fate.
create or replace function bridge.fate(stream text, watch text, id bigint, at timestamptz, xid xid8) returns table (
    fate text, reason text, since timestamptz, context text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.fate(text, text, bigint, timestamptz, xid8) is
'What became of an event of the log: waits, published, skipped, dead, retried or discarded; why, since when, and the '
'context of the person who decided.';


-- Returns the rows that have changed again and again within a short time, at most ten: a task that writes the row that
-- starts it never comes to rest. It reads the newest events of each lane through the log's index, and no more.
create or replace function bridge.restless_keys(at_least bigint default 100, within interval default '5 minutes')
returns table (watch text, key jsonb, changes bigint, seconds bigint)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
comment on function bridge.restless_keys(bigint, interval) is
'Rows that changed at least so often within a short time: does the task of the watch write the row that starts it?';


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
comment on function bridge.disk_use() is
'Bytes on disk of the log, the dead letters and the inbox, with their indexes.';


-- 12 --- Rights, and upgrade of what is installed ---------------------------------------------------------------------

-- PostgreSQL lets everybody execute a new function. In this schema only the owner may, until a role is granted the
-- right.
revoke all on all functions in schema bridge from public;

-- Watches that an older triggers.sql made get the capture function of this one. A watch that no longer fits its table
-- is left alone, and plan() shows it.
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
        raise warning
            'the tables of % watches are in use, so these watches keep their old triggers: apply this file again',
            cardinality(outdated);
        return;
    end;
    foreach w in array outdated loop
        begin
            perform bridge._install(w);
        exception when others then
            raise warning 'watch "%" could not be upgraded and stays as it was: %', w.name, sqlerrm;
        end;
    end loop;
end
$upgrade$;

-- Drops the functions that only an older triggers.sql called. They stay while a watch has a capture function of that
-- file.
do $obsolete$
declare
    signature text;
begin
    if exists (
        select from pg_proc where pronamespace = 'bridge'::regnamespace and proname like 'key\_%'
    ) then
        return;
    end if;
    foreach signature in array array[
        '_columns_of_condition(bridge.watch)', '_functions(bridge.watch)', '_guards_inside(bridge.watch)',
        '_holds_json(oid)',
        '_moves(oid, anyelement)', '_object(regclass, text[], text)', '_row_function(text, text, text, text)',
        '_statements(bridge.watch)', '_value(regclass, text, text)', '_trigger(bridge.watch, text)',
        '_capture_branch(bridge.watch, text)', '_capture_function(bridge.watch)', '_drop_functions(text, text[])',
        '_chosen(bigint[], text, text, timestamptz, timestamptz, integer)',
        '_json_object(text[])', '_json_array(text[])', '_value(oid, text, boolean)', '_changed(regclass, text)',
        '_differs(regclass, text)', '_condition(bridge.watch, text)', '_condition_inside(text)',
        '_fits_call(bridge.watch, boolean)', '_key_of(bridge.watch, text)', '_data_of(bridge.watch, text)',
        '_reading(bridge.watch, text)', '_capture_function(bridge.watch, boolean)',
        '_trigger(bridge.watch, text, boolean)', '_trigger_statements(bridge.watch, boolean)',
        '_quoted(text)', '_as_written(text)', '_capture_branch(bridge.watch, text, jsonb, text, boolean)',
        '_columns_of_condition(bridge.watch, boolean)', '_capture_branch(bridge.watch, text, boolean)',
        '_refuse_loaded()', '_bury_loaded(bridge.ring)'
    ] loop
        if to_regprocedure('bridge.' || signature) is not null then
            execute format('drop function bridge.%s', signature);
        end if;
    end loop;
end
$obsolete$;

-- This must be the last statement: after it, names have again the meaning that they have for the caller.
do $unpin$
declare
    kept constant text := current_setting('bridge.search_path', true);
    local constant boolean := kept like 'transaction:%';
begin
    if kept ~ '^(session|transaction):' then
        perform set_config('bridge.search_path', '', local);
        perform set_config('search_path', substr(kept, strpos(kept, ':') + 1), local);
    end if;
end
$unpin$;
