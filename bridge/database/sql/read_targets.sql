-- Reads what the relay needs of the watches. Removed watches are included, since their events may still wait.
select
    (select generation from bridge.installation) as generation,
    array(select name from bridge.watch order by name) as names,
    array(select task from bridge.watch order by name) as tasks,
    array(select options::text from bridge.watch order by name) as options,
    array(select task from bridge.sendable) as sendable
