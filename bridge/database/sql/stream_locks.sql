-- Returns the keys of a stream's advisory locks.
select sleep_key, owner_key
from bridge.stream
where name = %(stream)s
