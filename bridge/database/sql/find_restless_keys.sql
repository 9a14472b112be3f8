-- Returns the rows that change again and again.
select watch, key, changes, seconds
from bridge.restless_keys()
