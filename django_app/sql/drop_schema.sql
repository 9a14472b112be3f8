-- Removes everything that triggers.sql has installed: triggers, watches and events.
drop schema if exists bridge cascade
