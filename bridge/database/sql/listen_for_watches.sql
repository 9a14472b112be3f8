-- Notifications of new streams and changed watches arrive from now on.
listen "bridge"
