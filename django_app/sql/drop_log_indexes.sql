-- Drops the indexes of the log that BRIDGE_LOG_INDEXES asked for.
drop index if exists bridge.event_key, bridge.event_at
