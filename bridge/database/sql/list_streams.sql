-- Returns the names of all streams.
select name
from bridge.stream
order by name
