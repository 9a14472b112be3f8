-- Ends the walk through a large window (rest.sql).
close bridge_rest
