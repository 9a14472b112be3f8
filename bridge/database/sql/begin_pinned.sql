-- Begins the transaction that keeps the session for one client behind a pooler.
begin isolation level read committed
