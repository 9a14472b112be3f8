-- Returns the state of each stream.
select * from bridge.status()
