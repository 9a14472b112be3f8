-- Renews the table and column numbers that capture uses; a restore changes them. Returns the number of watches that
-- needed it.
select bridge.refresh() as number
