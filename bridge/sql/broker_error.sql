-- Why the broker takes nothing at present, for whoever asks the database; null when it takes what it gets again. An
-- outage that an earlier relay noted goes on.
update bridge.position
set
    broker_error = %(reason)s::text,
    broker_away_since = case when %(reason)s::text is not null then coalesce(broker_away_since, clock_timestamp()) end
where stream = %(stream)s
returning ctid::text
