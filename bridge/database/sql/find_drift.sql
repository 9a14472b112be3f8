-- Returns the watches whose triggers are not as they should be.
select name
from bridge.drift()
order by name
