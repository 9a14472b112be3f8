-- A log that was restored from elsewhere is turned into one of this cluster, if this is one.
select reason, waiting
from bridge.adopt(%(stream)s)
