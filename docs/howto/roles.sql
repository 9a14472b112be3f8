-- Grants each role the rights that it needs, and no others. Apply it after triggers.sql, as a superuser or the owner:
--
--     psql -v owner=shop_owner -v application=shop_web -v worker=shop_worker -v process=shop_bridge \
--         -f docs/howto/roles.sql
--
-- owner        owns your tables and the schema `bridge`; it migrates, and only it makes and changes watches
-- application  writes your tables; it needs nothing in schema `bridge`, since capture runs with the owner's rights
-- worker       the role of your Celery workers; without `-v worker=...` it is the application
-- process      the role of `bridge run`; it reads events and moves positions, and has no rights on your tables
\if :{?worker}
\else
    \set worker :application
\endif

-- Only the owner can use the schema, and nobody else may call new functions (triggers.sql also revokes that).
revoke all on schema bridge from public;
revoke all on all tables in schema bridge from public;
revoke all on all functions in schema bridge from public;

-- The application may send allowed tasks (select bridge.allow('shop.tasks.mail'); Django's migrate allows those of the
-- project). Leave these out if it should not.
grant usage on schema bridge to :"application";
grant execute on function
    bridge.send(text, jsonb, jsonb, jsonb, text), bridge.send_task(text, text, text, jsonb, text[], text)
to :"application";
-- Tasks may note that their work is done (docs/howto/exactly-once.md). A role with this right can also note the id of a
-- task that has not run yet, which then does nothing; so only the worker gets the right.
grant usage on schema bridge to :"worker";
grant execute on function bridge.once(uuid) to :"worker";
-- In shadow mode both note what the old dispatch publishes (docs/howto/shadow.md). Without shadow watches the function
-- notes nothing.
grant execute on function bridge.note_publishes(jsonb) to :"application", :"worker";

-- The process reads the log and what it needs to know about the watches.
grant usage on schema bridge to :"process";
grant select on
    bridge.event, bridge.stream, bridge.watch, bridge.sendable, bridge.installation, bridge.waiting
to :"process";
-- It moves positions and notes in them why the broker refuses messages, but can neither add nor remove streams.
grant select, update (seen, upto, after_id, largest_id, moved_at, broker_error, broker_away_since)
on bridge.position to :"process";
-- It adds dead letters through a function that copies them from the log. It can't write one itself, since `retry` would
-- make an event of it.
grant select on bridge.dead_letter to :"process";
grant execute on function bridge.bury(text, bigint[], timestamptz[], xid8[], text[]) to :"process";
revoke insert, update on bridge.dead_letter from :"process"; -- what an older version of this file granted
-- An operator may retry or discard them with the rights of the process (bridge dead-letters).
grant execute on function
    bridge.retry(bigint[], text, text, timestamptz, timestamptz, integer),
    bridge.discard(bigint[], text, text, timestamptz, timestamptz, integer)
to :"process";

-- It recycles the log through functions that check what they truncate. It has no INSERT on events and no right to
-- change watches, so it can't invent a task to run.
grant execute on function
    bridge._is_wide(text, text, jsonb, jsonb, text), bridge.version(), bridge._cluster(), bridge.status(), bridge.drift(),
    bridge.restless_keys(bigint, interval), bridge.recycle(interval), bridge.refresh(),
    bridge._is_foreign(bigint, pg_snapshot, pg_snapshot, xid),
    bridge._waits_in_foreign_log(bigint, xid8, timestamptz, pg_snapshot, pg_snapshot, bigint, bigint, timestamptz),
    bridge.adopt(text), bridge.set_aside(), bridge.disk_use(), bridge.forget(interval, integer),
    bridge.await_lock(bigint, interval)
to :"process";
-- `bridge status` and `bridge doctor` compare the watches with their declarations. It can look, but not change them.
grant execute on function
    bridge.plan(jsonb, boolean, text), bridge._relations(jsonb), bridge._plan(jsonb, regclass[], boolean, text)
to :"process";
