-- Ends the transaction of a pinned session, and begins the next one.
commit and chain
