-- What a writer does, on the connection that listens: it notifies only if the sleep key is asked for or held. So when
-- the notification comes, others' come too. There is always a row: the share of the server's notification queue in use.
select
    pg_notification_queue_usage(),
    case when not pg_try_advisory_xact_lock_shared(%(sleep_key)s) then pg_notify(%(channel)s, '')::text end
