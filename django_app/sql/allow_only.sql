-- Allows exactly these tasks for this source, and returns what that changed.
select a.action, a.task
from bridge.allow_only(%(tasks)s::pg_catalog.text[], %(source)s) as a
