-- Does what a writer does, on the listening connection: it notifies only if the sleep key is requested or held. So when
-- this notification arrives, those of writers arrive too. It always returns a row, with the share of the server's
-- notification queue in use.
select
    pg_notification_queue_usage() as queue_usage,
    case when not pg_try_advisory_xact_lock_shared(%(sleep_key)s) then pg_notify(%(channel)s, '')::text end as notified
