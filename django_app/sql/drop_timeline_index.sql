-- Drops the index of the timelines.
drop index if exists bridge.event_key
