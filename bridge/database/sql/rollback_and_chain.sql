-- Ends the failed transaction of a pinned session, and begins the next one.
rollback and chain
