-- Roles, each with no more rights than it needs. Apply it after triggers.sql, as a superuser or as the owner:
--
--     psql -v owner=shop_owner -v application=shop_web -v worker=shop_worker -v process=shop_bridge -f docs/howto/roles.sql
--
-- owner        owns your tables and the schema `bridge`; it migrates, and it alone makes and changes watches
-- application  writes your tables; it needs nothing in schema `bridge`, since capture runs with the owner's rights
-- worker       what your Celery workers connect as; without `-v worker=...` they are the application
-- process      what `bridge run` connects as; it reads events and moves positions, and can't touch your tables
\if :{?worker}
\else
    \set worker :application
\endif

-- Nobody but the owner can look into the schema, and new functions are nobody's to call (triggers.sql sees to that too).
revoke all on schema bridge from public;
revoke all on all tables in schema bridge from public;
revoke all on all functions in schema bridge from public;

-- The application may send allowed tasks (select bridge.allow('shop.tasks.mail')); leave these out if it should not.
grant usage on schema bridge to :"application";
grant execute on function bridge.send(text, jsonb, jsonb, jsonb, text) to :"application";
-- Tasks may note what they have done (docs/howto/exactly-once.md). Whoever may do so can also note the id of a task that
-- has not run yet, which then does nothing; so it is the worker's right.
grant usage on schema bridge to :"worker";
grant execute on function bridge.once(uuid) to :"worker";

-- The process reads the log and what it needs to know of the watches ...
grant usage on schema bridge to :"process";
grant select on bridge.event, bridge.stream, bridge.watch, bridge.sendable, bridge.installation, bridge.waiting to :"process";
-- ... moves positions and notes there why the broker takes nothing, but can neither make nor remove streams ...
grant select, update (seen, upto, after_id, largest_id, moved_at, broker_error, broker_away_since) on bridge.position to :"process";
-- ... keeps dead letters, through a function that copies them from the log: it can't write one itself, or `retry` would
-- make an event of it ...
grant select on bridge.dead_letter to :"process";
grant execute on function bridge.bury(text, bigint[], timestamptz[], xid8[], text[]) to :"process";
revoke insert, update on bridge.dead_letter from :"process"; -- what an older version of this file granted
-- ... and lets an operator try them again or drop them (bridge dead-letters) ...
grant execute on function
    bridge.retry(bigint[], text, text, timestamptz, timestamptz, integer),
    bridge.discard(bigint[], text, text, timestamptz, timestamptz, integer)
to :"process";

-- ... and recycles the log through functions that check what they truncate. No INSERT on events, no right on watches:
-- it can't make up a task to run.
grant execute on function
    bridge._wide(text, text, jsonb, jsonb, text), bridge.version(), bridge._cluster(), bridge.status(), bridge.drift(),
    bridge.recycle(interval), bridge.refresh(),
    bridge._is_foreign(bigint, pg_snapshot, pg_snapshot, xid),
    bridge._waits_in_foreign_log(bigint, xid8, timestamptz, pg_snapshot, pg_snapshot, bigint, bigint, timestamptz),
    bridge.adopt(text), bridge.set_aside(), bridge.disk_use(), bridge.forget(interval, integer),
    bridge.await_lock(bigint, interval)
to :"process";
