"""Flow: what happens to events between the log and the broker."""
