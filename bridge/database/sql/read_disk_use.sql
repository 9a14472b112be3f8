-- Returns the size of each part of the schema in bytes.
select part, bytes
from bridge.disk_use()
