-- Returns the watches whose triggers are not as they should be, and whether this role may read the reasons.
select
    name,
    has_function_privilege('bridge._definition(bridge.watch)', 'execute') as may_read
from bridge.drift()
order by name
