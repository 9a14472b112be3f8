-- If the log was restored from elsewhere, makes it a log of this cluster. Returns no row if it was not.
select reason, waiting
from bridge.adopt(%(stream)s)
