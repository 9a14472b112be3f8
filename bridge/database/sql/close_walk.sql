-- Ends the walk through a large window (walk_window.sql).
close bridge_rest
