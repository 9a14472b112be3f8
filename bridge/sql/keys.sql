-- The advisory locks of a stream.
select sleep_key, owner_key
from bridge.stream
where name = %(stream)s
