-- A small commit that waits for the disk, and so for everything that was committed before. It does not wait for
-- standbys: a failover can lose what they have not received, even if this statement waited for them.
select pg_logical_emit_message(true, 'bridge', '')
from set_config('synchronous_commit', 'local', true)
