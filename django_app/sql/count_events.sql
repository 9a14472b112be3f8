-- Counts the events of the log, up to a limit.
select pg_catalog.count(*) as number from (select from bridge.event limit %(most)s) as e
