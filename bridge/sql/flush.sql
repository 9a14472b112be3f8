-- A small commit that waits for the disk, and with it for all that was committed before. Not for standbys: what they lack
-- can be lost by a failover, whatever waits here.
select pg_logical_emit_message(true, 'bridge', '')
from set_config('synchronous_commit', 'local', true)
