-- Stores why the broker refuses messages now, for queries of the database; null when it accepts them again. If an
-- earlier relay has noted the outage, its start time stays.
update bridge.position
set
    broker_error = %(reason)s::text,
    broker_away_since = case when %(reason)s::text is not null then coalesce(broker_away_since, clock_timestamp()) end
where stream = %(stream)s
returning ctid::text
